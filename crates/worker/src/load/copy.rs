//! The pieces of a table over several connections, each with a thread of its own: reading, decoding and writing take turns there.

use super::files::{FileLimits, Files, Layout};
use super::rows::{BatchLimits, Read, Rows, STOPPED, Taken};
use super::snapshot::BEGIN;
use super::tap::{Tap, Tapped, lock};
use crate::context::Progress;
use crate::failure::Failure;
use crate::secret::Secret;
use crate::source::{Table, connect_through, failed};
use crate::store::Location;
use crate::types::Carried;
use futures::StreamExt;
use pipeline::path::TableName;
use pipeline::position::ManifestFile;
use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_postgres::Client;

/// All that there is to copy, and how.
pub struct Copy<'a> {
    pub table: &'a Table,
    /// The COPY of each piece.
    pub statements: Vec<String>,
    pub connections: u32,
    pub snapshot: &'a str,
    pub layout: Arc<Layout>,
    pub columns: Vec<(String, Carried)>,
    pub batch: BatchLimits,
    pub files: FileLimits,
}

/// What was copied.
#[derive(Debug, Default)]
pub struct Copied {
    pub rows: u64,
    /// Rows by the server's own count.
    pub rows_sent: u64,
    pub files: Vec<ManifestFile>,
    /// NaN and infinities that became NULL, by column.
    pub nulled: BTreeMap<String, u64>,
}

impl Copy<'_> {
    /// Copies all of it into `folder`. The first failure ends all connections.
    pub async fn run(
        &self,
        secret: &Secret,
        folder: &Location,
        progress: &impl Progress,
    ) -> Result<Copied, Failure> {
        let stop = StopOnDrop(Arc::default());
        let queue = Arc::new(Mutex::new(VecDeque::from(self.statements.clone())));
        let table = Arc::new(self.table.name.clone());
        let (told, mut hear) = unbounded_channel();
        let connections = (self.connections as usize).min(self.statements.len());
        let threads: Vec<_> = (0..connections)
            .map(|number| {
                let connection = Connection {
                    table: table.clone(),
                    queue: queue.clone(),
                    secret: secret.clone(),
                    snapshot: self.snapshot.to_owned(),
                    rows: self.rows(folder.clone(), number, &table, told.clone(), &stop.0),
                    stop: stop.0.clone(),
                };
                tokio::task::spawn_blocking(move || connection.run())
            })
            .collect();
        drop(told);
        while let Some((rows, bytes)) = hear.recv().await {
            progress.add(rows, bytes);
        }
        let mut results = Vec::with_capacity(connections);
        for thread in threads {
            results.push(thread.await.unwrap_or_else(|panic| Err(panicked(&panic))));
        }
        let mut copied = together(results)?;
        if copied.files.is_empty() {
            let files = Files::new(folder.clone(), 0, self.layout.clone(), self.files);
            copied.files = files.empty()?;
        }
        Ok(copied)
    }

    fn rows(
        &self,
        folder: Location,
        number: usize,
        table: &Arc<TableName>,
        told: UnboundedSender<Read>,
        stop: &Arc<AtomicBool>,
    ) -> Rows {
        let files = Files::new(folder, number, self.layout.clone(), self.files);
        Rows::new(
            table.clone(),
            &self.columns,
            self.batch,
            files,
            told,
            stop.clone(),
        )
    }
}

/// Ends the threads when nobody waits for them any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Adds up what all connections did, or tells the failure that came first.
fn together(results: Vec<Result<(Taken, u64), Failure>>) -> Result<Copied, Failure> {
    let mut copied = Copied::default();
    let mut failures = Vec::new();
    for result in results {
        match result {
            Ok((taken, rows_sent)) => {
                copied.rows += taken.rows;
                copied.rows_sent += rows_sent;
                copied.files.extend(taken.files);
                for (column, count) in taken.nulled {
                    *copied.nulled.entry(column).or_default() += count;
                }
            }
            Err(failure) => failures.push(failure),
        }
    }
    // Those that were stopped are the consequence.
    let first = failures.iter().position(|failure| failure.error != STOPPED);
    match failures.len() {
        0 => Ok(copied),
        _ => Err(failures.swap_remove(first.unwrap_or(0))),
    }
}

fn panicked(panic: &tokio::task::JoinError) -> Failure {
    Failure::new("WorkerPanicked", "a thread of the load broke off")
        .hint("this is a fault of headwater: the step's stderr has the place")
        .caused_by(panic)
}

/// One connection and the pieces that it takes.
struct Connection {
    table: Arc<TableName>,
    queue: Arc<Mutex<VecDeque<String>>>,
    secret: Secret,
    snapshot: String,
    rows: Rows,
    stop: Arc<AtomicBool>,
}

impl Connection {
    fn run(self) -> Result<(Taken, u64), Failure> {
        let stop = self.stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| {
                Failure::new("NoThreads", "no threads to work with").caused_by(&error)
            })?;
        let result = runtime.block_on(self.copy());
        if result.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        result
    }

    async fn copy(self) -> Result<(Taken, u64), Failure> {
        let shared = Tapped::new(self.rows);
        let client =
            connect_through(&self.secret, |stream| Tap::new(stream, shared.clone())).await?;
        let what = format!("`{}` cannot be read", self.table);
        let import = format!("{BEGIN}; SET TRANSACTION SNAPSHOT '{}'", self.snapshot);
        client
            .batch_execute(&import)
            .await
            .map_err(|error| failed(&what, &error))?;
        while let Some(statement) = next(&self.queue) {
            if let Err(error) = piece(&client, &statement).await {
                let own = lock(&shared).failure.take();
                return Err(own.unwrap_or_else(|| failed(&what, &error)));
            }
        }
        let mut tapped = lock(&shared);
        Ok((tapped.sink.finish()?, tapped.rows_sent))
    }
}

fn next(queue: &Mutex<VecDeque<String>>) -> Option<String> {
    queue
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .pop_front()
}

/// Runs one COPY to its end. Its data does not come this way.
async fn piece(client: &Client, statement: &str) -> Result<(), tokio_postgres::Error> {
    let mut data = pin!(client.copy_out(statement).await?);
    while let Some(bytes) = data.next().await {
        bytes?;
    }
    Ok(())
}
