//! One silver table: its lock, its position record, its generations and the pointer to the published one.
//!
//! The position record says which generation is published; the pointer file follows it, and is put right whenever a seed or a merge begins.

mod adapt;
mod capture;
mod changes;
mod keys;
mod space;
#[cfg(test)]
pub(crate) mod testbed;

pub use adapt::Adapter;
pub use capture::Capture;
pub use changes::{Change, Changes, Floors, Marked, chosen, floors, listed};
pub use keys::{KeyColumns, Keys, check_columns, check_counted, check_partitions};
pub use space::space;

use crate::failure::Failure;
use crate::store::{self, Location};
use local::lock::{self, Lock};
use pipeline::path::{PUBLISHED_FILE, segment};
use pipeline::plan::{Engine, TableWork};
use pipeline::position::{Operation, Pending, Position, Published, Seed};
use pipeline::time::Timestamp;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tasks::port::{Clock, Ledger};
use tasks::record::Versioned;

/// Held by the one process that writes the table.
const LOCK_FILE: &str = ".headwater.lock";
/// Looks for a free lock, and the pause between two.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
const SCHEMA_VERSION: u32 = 1;

/// A silver table while this process alone may write it.
pub struct Silver<'a, L> {
    ledger: &'a L,
    work: &'a TableWork,
    folder: Location,
    record: Option<Versioned<Position>>,
    _lock: Option<Lock>,
}

impl<'a, L: Ledger> Silver<'a, L> {
    /// Takes the table's lock and reads its position.
    pub async fn lock(ledger: &'a L, work: &'a TableWork) -> Result<Self, Failure> {
        let folder = store::location(&work.silver)?;
        let lock = lock(&folder)?;
        let record = tasks::position::read(ledger, &work.silver)
            .await
            .map_err(|error| Failure::new("LedgerUnreachable", error.to_string()))?;
        Ok(Self {
            ledger,
            work,
            folder,
            record,
            _lock: lock,
        })
    }

    pub fn position(&self) -> Option<&Position> {
        self.record.as_ref().map(|record| &record.value)
    }

    /// The load that the published generation was seeded from.
    pub fn seed(&self) -> Option<&Seed> {
        self.position()?.seed.as_ref()
    }

    pub fn pending(&self) -> Option<&Pending> {
        self.position()?.pending.as_ref()
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp
    where
        L: Clock,
    {
        self.ledger.now()
    }

    /// Folder of a generation.
    pub fn generation(&self, run_id: &str) -> Location {
        self.folder.join(&generation(run_id))
    }

    /// Writes the position record, unless another writer came before.
    pub async fn write(&mut self, position: &Position) -> Result<(), Failure> {
        let written = tasks::position::write(
            self.ledger,
            &self.work.silver,
            self.record.as_ref(),
            position,
        )
        .await;
        self.record = Some(written.map_err(|error| {
            match error {
                tasks::port::WriteError::Conflict(_) => Failure::new(
                    "PositionMoved",
                    format!(
                        "the position of `{}` was changed by another writer",
                        self.work.target_table
                    ),
                )
                .hint("look for a second run that writes this table: headwater runs"),
                tasks::port::WriteError::Port(error) => {
                    Failure::new("LedgerUnreachable", error.to_string())
                }
            }
        })?);
        Ok(())
    }

    /// Writes that work began, and gives the position as it is then.
    pub async fn begin(&mut self, pending: Pending) -> Result<(), Failure> {
        if self.pending() == Some(&pending) {
            return Ok(());
        }
        let position = Position {
            pending: Some(pending),
            ..self.position().cloned().unwrap_or_else(unseeded)
        };
        self.write(&position).await
    }

    /// Puts right what a seed left that was killed: a half-built generation, or a pointer to the one before.
    pub async fn repair(&mut self) -> Result<(), Failure> {
        if let Some(pending) = self.pending().cloned()
            && pending.operation == Operation::Seed
        {
            self.remove_generation(&pending.run_id)?;
            if let Some(position) = self.position().cloned() {
                self.write(&Position {
                    pending: None,
                    ..position
                })
                .await?;
            }
        }
        self.point()
    }

    /// Makes the pointer file say what the position record says.
    pub fn point(&self) -> Result<(), Failure> {
        let Some(seed) = self.seed() else {
            return Ok(());
        };
        let published = Published {
            schema_version: SCHEMA_VERSION,
            generation: generation(&seed.run_id),
        };
        let place = self.folder.join(PUBLISHED_FILE);
        let bytes = serde_json::to_vec(&published).unwrap_or_default();
        match place.read() {
            Ok(found) if found == bytes => Ok(()),
            _ => place.put(&bytes).map_err(|error| unusable(&place, &error)),
        }
    }

    /// Removes a generation that is not published.
    pub fn remove_generation(&self, run_id: &str) -> Result<(), Failure> {
        if self.seed().is_some_and(|seed| seed.run_id == run_id) {
            return Ok(());
        }
        remove(&self.generation(run_id))
    }

    /// Removes generations that were left longer than this ago, but never the published one and `before`.
    pub fn remove_old_generations(
        &self,
        before: Option<&str>,
        older_than: SystemTime,
    ) -> Result<(), Failure> {
        let kept: Vec<Location> = [self.seed().map(|seed| seed.run_id.as_str()), before]
            .into_iter()
            .flatten()
            .map(|run_id| self.generation(run_id))
            .collect();
        let folders = self
            .folder
            .folders()
            .map_err(|error| unusable(&self.folder, &error))?;
        for folder in folders {
            let is_generation = folder.name().starts_with("g=");
            if is_generation && !kept.contains(&folder) && last_written(&folder)? < older_than {
                remove(&folder)?;
            }
        }
        Ok(())
    }
}

/// Folder name of a generation.
fn generation(run_id: &str) -> String {
    format!("g={}", segment(run_id))
}

fn unseeded() -> Position {
    Position {
        schema_version: SCHEMA_VERSION,
        epoch: None,
        seed: None,
        applied: None,
        complete_through: None,
        engine: Engine::Native,
        pending: None,
        needs_reseed: None,
    }
}

/// Folder of the generation that a position record publishes.
pub fn published(work: &TableWork, position: &Position) -> Result<Option<Location>, Failure> {
    let folder = store::location(&work.silver)?;
    Ok(position
        .seed
        .as_ref()
        .map(|seed| folder.join(&generation(&seed.run_id))))
}

/// On one machine a lock keeps a second writer away; on S3 admission and fence do, as a lock of a file cannot.
fn lock(folder: &Location) -> Result<Option<Lock>, Failure> {
    let Some(path) = folder.path() else {
        return Ok(None);
    };
    std::fs::create_dir_all(path)
        .and_then(|()| hold_soon(&path.join(LOCK_FILE)))
        .map_err(|error| unusable(&folder.join(LOCK_FILE), &error))?
        .map(Some)
        .ok_or_else(|| {
            Failure::new(
                "TableBusy",
                format!("another process of this machine writes `{folder}`"),
            )
            .hint("wait until it has ended: headwater runs")
        })
}

/// The lock, unless a process keeps it. A program that is just being started has a copy of every lock of who starts it, until it runs.
fn hold_soon(path: &Path) -> io::Result<Option<Lock>> {
    for _ in 1..LOCK_TRIES {
        if let Some(lock) = lock::try_hold(path)? {
            return Ok(Some(lock));
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    lock::try_hold(path)
}

/// When the last commit to a generation was begun or made; the beginning of time when it has no timeline.
fn last_written(generation: &Location) -> Result<SystemTime, Failure> {
    let timeline = generation.join(".hoodie/timeline");
    match timeline.newest_change() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(UNIX_EPOCH),
        changed => changed.map_err(|error| unusable(&timeline, &error)),
    }
}

fn remove(folder: &Location) -> Result<(), Failure> {
    folder
        .remove_folder()
        .map_err(|error| unusable(folder, &error))
}

pub(crate) fn unusable(place: &Location, error: &io::Error) -> Failure {
    let (name, hint) = match error.kind() {
        io::ErrorKind::StorageFull => ("DiskFull", "free some space, then `headwater resume`"),
        _ => ("LakeUnusable", place.rights_hint()),
    };
    Failure::new(name, format!("`{place}` cannot be used: {error}"))
        .hint(hint)
        .caused_by(error)
}
