//! How far a comparison is: rows read of both sides, for a person who waits.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counts what both sides have read.
#[derive(Debug, Default)]
pub struct Meter {
    source: AtomicU64,
    silver: AtomicU64,
}

impl Meter {
    pub fn add_source(&self, rows: u64) {
        self.source.fetch_add(rows, Ordering::Relaxed);
    }

    pub fn add_silver(&self, rows: u64) {
        self.silver.fetch_add(rows, Ordering::Relaxed);
    }
}

const INTERVAL: Duration = Duration::from_millis(250);

/// Shows the meter of a table on a terminal until it is dropped.
pub struct Shown {
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Shown {
    pub fn begin(table: &str, meter: &Arc<Meter>) -> Self {
        let (table, meter, began) = (table.to_owned(), meter.clone(), Instant::now());
        let task = stderr().is_terminal().then(|| {
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(INTERVAL);
                loop {
                    ticks.tick().await;
                    let (source, silver) = (
                        meter.source.load(Ordering::Relaxed),
                        meter.silver.load(Ordering::Relaxed),
                    );
                    let rate = (source + silver) as f64 / began.elapsed().as_secs_f64().max(0.001);
                    rewrite(&format!(
                        "{table}: source {source}, silver {silver} rows, {rate:.0} rows/s"
                    ));
                }
            })
        });
        Self { task }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
            rewrite("");
        }
    }
}

/// Replaces the line at the cursor. Nobody is told when the terminal is gone.
fn rewrite(line: &str) {
    let _ = write!(stderr(), "\r\x1b[K{line}").and_then(|()| stderr().flush());
}

/// A line for whoever waits.
pub fn say(line: &str) {
    eprintln!("{line}");
}
