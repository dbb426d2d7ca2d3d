//! A kill point between the data files of a write and its commit, where the library has none; for tables of this machine.
//!
//! The library takes its lock of the process twice: to begin an instant, and to complete it. Whoever asks for the lock before
//! the write has begun, and never leaves the queue, holds it in between.

use hudi_core::write::{InProcessLockProvider, LockLease, LockProvider};
use local::kill;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// A write whose files do not all come goes on without the point.
const LOOKS_MAX: u32 = 30_000;

/// Runs a write; passes the point when its files are there and its commit is not. Costs nothing unless kill points are in use.
pub(super) async fn passing<T>(
    point: &str,
    base: String,
    folder: Option<&Path>,
    write: impl Future<Output = T>,
) -> T {
    let Some(folder) = folder.filter(|_| kill::in_use()) else {
        return write.await;
    };
    let provider = InProcessLockProvider::new(base);
    let Ok(held) = provider.lock().await else {
        return write.await;
    };
    let before = inflight(folder);
    let watch = watch(point, &provider, held, folder, before);
    match futures::future::select(pin!(write), pin!(watch)).await {
        futures::future::Either::Left((written, _)) => written,
        futures::future::Either::Right(((), write)) => write.await,
    }
}

async fn watch(
    point: &str,
    provider: &InProcessLockProvider,
    mut held: LockLease,
    folder: &Path,
    before: BTreeSet<String>,
) {
    let instant = loop {
        if let Some(instant) = inflight(folder).difference(&before).next() {
            break instant.clone();
        }
        let mut next = provider.lock();
        // In the queue before the lock is let go.
        let queued = futures::poll!(&mut next);
        drop(held);
        held = match queued {
            std::task::Poll::Ready(Ok(lease)) => lease,
            std::task::Poll::Ready(Err(_)) => return,
            std::task::Poll::Pending => match next.await {
                Ok(lease) => lease,
                Err(_) => return,
            },
        };
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    for _ in 0..LOOKS_MAX {
        if files(folder, &instant).is_some_and(|files| files.iter().all(|file| file.exists())) {
            kill::point(point);
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    drop(held);
}

/// Instants that were begun.
fn inflight(folder: &Path) -> BTreeSet<String> {
    let timeline = folder.join(".hoodie").join("timeline");
    let Ok(entries) = std::fs::read_dir(timeline) else {
        return BTreeSet::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.strip_suffix(".inflight").map(str::to_owned)
        })
        .filter(|instant| instant.bytes().all(|b| b.is_ascii_digit()))
        .collect()
}

/// The files that a write means to write, once it has said so.
fn files(folder: &Path, instant: &str) -> Option<Vec<PathBuf>> {
    let markers = folder
        .join(".hoodie")
        .join(".temp")
        .join(instant)
        .join("MARKERS0");
    let text = std::fs::read_to_string(markers).ok()?;
    Some(
        text.lines()
            .filter_map(|line| line.split_once(".marker."))
            .map(|(file, _)| folder.join(file))
            .collect(),
    )
}
