//! What a step has done so far, counted without waiting and written to the home folder once a second.

use crate::context::Progress;
use local::Local;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Between two writes: each is a transaction on disk.
const INTERVAL: Duration = Duration::from_secs(1);

/// Counts of one step.
pub struct Tally {
    local: Arc<Local>,
    run_id: String,
    step: String,
    rows: AtomicU64,
    bytes: AtomicU64,
    /// 0: not known.
    expected: AtomicU64,
    finished: AtomicBool,
}

impl Tally {
    /// Begins to count, and to write from a thread of its own.
    pub fn start(local: Arc<Local>, run_id: &str, step: &str) -> Arc<Self> {
        let tally = Arc::new(Self {
            local,
            run_id: run_id.to_owned(),
            step: step.to_owned(),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            expected: AtomicU64::new(0),
            finished: AtomicBool::new(false),
        });
        let writer = tally.clone();
        std::thread::spawn(move || {
            while !writer.finished.load(Ordering::Relaxed) {
                writer.write();
                std::thread::sleep(INTERVAL);
            }
        });
        tally
    }

    /// The last write.
    pub fn finish(&self) {
        self.finished.store(true, Ordering::Relaxed);
        self.write();
    }

    /// Nothing depends on it: a write that fails is made up for by the next.
    fn write(&self) {
        let expected = match self.expected.load(Ordering::Relaxed) {
            0 => None,
            rows => Some(rows),
        };
        let written = self.local.progress(
            &self.run_id,
            &self.step,
            self.rows.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
            expected,
        );
        if let Err(error) = written {
            tracing::debug!(%error, "progress was not written");
        }
    }
}

impl Progress for Tally {
    fn expect(&self, rows: u64) {
        self.expected.store(rows, Ordering::Relaxed);
    }

    fn add(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_written_at_the_end() {
        let home = tempfile::tempdir().expect("a folder");
        let local = Arc::new(Local::open(home.path()).expect("opened"));
        let tally = Tally::start(local.clone(), "run", "public.orders");
        tally.expect(10);
        tally.add(3, 100);
        tally.add(4, 200);
        tally.finish();
        let written = local.progress_of("run").expect("read");
        assert_eq!(written.len(), 1);
        assert_eq!(
            (written[0].rows, written[0].bytes, written[0].expected),
            (7, 300, Some(10))
        );
    }
}
