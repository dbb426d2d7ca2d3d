//! `merge`: change files into the published generation of a silver table, batch by batch, each applied wholly and once.
//!
//! Of each batch: pending is written, the Hudi commit made, then applied is written with the instant that came back.
//! A merge that finds pending looks for a commit after its base: there is one, and the batch was applied; or there is none, and it is done again.

pub mod query;
mod settle;
pub mod spark;
#[cfg(test)]
mod tests;

use crate::context::{Guard, Progress};
use crate::failure::Failure;
use crate::hudi::{self, HudiTable, Layout, RECORD_KEY, Size};
use crate::job::Job;
use crate::silver::{self, Adapter, Capture, Change, Changes, Floors, KeyColumns, Silver};
use crate::spark::Submit;
use crate::store::{self, Location};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use local::kill;
use pipeline::change_files;
use pipeline::config::table::ORDERING_COLUMN;
use pipeline::plan::{CaptureKind, Engine, PipelineKind, TableWork};
use pipeline::position::{Applied, Operation, Pending, Position, Seed};
use pipeline::report::StepReport;
use pipeline::seq::ChangeSeq;
use pipeline::time::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tasks::port::{Clock, Ledger};

/// The guard's failure when a run is cancelled: it ends a continuous merge as it should end.
const CANCELLED: &str = "Cancelled";

/// Bounds of a merge.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Rows of change files in one commit; one file is never divided.
    pub batch_rows: u64,
    /// Bytes of change files in one commit.
    pub batch_bytes: u64,
    /// Change files in one commit.
    pub batch_files: usize,
    /// How long the first merge waits for capture to pass the end of the load.
    pub capture_wait: Duration,
    /// Between two looks at capture while waiting.
    pub capture_poll: Duration,
    /// Between two rounds of a continuous merge.
    pub round_poll: Duration,
}

impl Limits {
    pub const USUAL: Self = Self {
        batch_rows: 200_000,
        batch_bytes: 64 << 20,
        batch_files: usize::MAX,
        capture_wait: Duration::from_secs(60),
        capture_poll: Duration::from_millis(500),
        round_poll: Duration::from_secs(3),
    };
}

/// Merges all change files that are there; again and again until cancelled, when the pipeline is a continuous one.
pub async fn run(
    ledger: &(impl Ledger + Clock),
    job: &Job<'_>,
    work: &TableWork,
    guard: &impl Guard,
    progress: &impl Progress,
) -> Result<StepReport, Failure> {
    run_within(ledger, job, work, guard, progress, &Limits::USUAL).await
}

/// As `run`, within other limits.
pub async fn run_within(
    ledger: &(impl Ledger + Clock),
    job: &Job<'_>,
    work: &TableWork,
    guard: &impl Guard,
    progress: &impl Progress,
    limits: &Limits,
) -> Result<StepReport, Failure> {
    let silver = Silver::lock(ledger, work).await?;
    let merge = Merge::begin(silver, job, work, Writer::Library, limits).await?;
    merge.run(guard, progress).await
}

/// What writes the batches.
#[derive(Clone, Copy)]
enum Writer<'a> {
    Library,
    Spark(&'a Submit<'a>),
}

impl Writer<'_> {
    fn engine(self) -> Engine {
        match self {
            Self::Library => Engine::Native,
            Self::Spark(_) => Engine::Spark,
        }
    }
}

/// A merge under way.
struct Merge<'a, L> {
    silver: Silver<'a, L>,
    job: &'a Job<'a>,
    work: &'a TableWork,
    writer: Writer<'a>,
    limits: &'a Limits,
    seed: Seed,
    /// The published generation.
    folder: Location,
    /// The table's change files.
    changes: Location,
    adapter: Adapter,
    keys: KeyColumns,
    report: StepReport,
    /// As the last commit left the table.
    size: Option<Size>,
}

impl<'a, L: Ledger + Clock> Merge<'a, L> {
    async fn begin(
        mut silver: Silver<'a, L>,
        job: &'a Job<'a>,
        work: &'a TableWork,
        writer: Writer<'a>,
        limits: &'a Limits,
    ) -> Result<Self, Failure> {
        silver.repair().await?;
        let seed = silver.seed().cloned().ok_or_else(|| {
            Failure::new(
                "NotSeeded",
                format!("`{}` has no seed to merge changes into", work.target_table),
            )
            .hint(work.reload())
        })?;
        let folder = silver.generation(&seed.run_id);
        let table = hudi::open(&folder).await?;
        let schema = table.schema().await?;
        silver::check_columns(work, &schema, writer.engine())?;
        check_options(work, &table)?;
        Ok(Self {
            changes: store::location(&work.changes)?,
            adapter: Adapter::of(nullable(&schema), work),
            keys: KeyColumns::of(work),
            silver,
            job,
            work,
            writer,
            limits,
            seed,
            folder,
            report: StepReport::default(),
            size: None,
        })
    }

    async fn run(
        mut self,
        guard: &impl Guard,
        progress: &impl Progress,
    ) -> Result<StepReport, Failure> {
        match self.job.plan.kind {
            PipelineKind::ContinuousHudi => self.until_cancelled(guard, progress).await?,
            PipelineKind::IncrementalHudi
            | PipelineKind::SeedHudi
            | PipelineKind::JdbcLoad
            | PipelineKind::Custom => self.round(guard, progress).await?,
        }
        let space = self.size.map(|size| silver::space(self.work, &size));
        self.report.notes.extend(space);
        Ok(self.report)
    }

    fn position(&self) -> Result<Position, Failure> {
        self.silver
            .position()
            .cloned()
            .ok_or_else(|| Failure::new("NotSeeded", "the position record is gone"))
    }

    async fn until_cancelled(
        &mut self,
        guard: &impl Guard,
        progress: &impl Progress,
    ) -> Result<(), Failure> {
        loop {
            let allowed = guard.may_commit().await.and_then(|()| self.alive());
            let round = match allowed {
                Ok(()) => self.round(guard, progress).await,
                Err(failure) => Err(failure),
            };
            match round {
                Ok(()) => tokio::time::sleep(self.limits.round_poll).await,
                Err(failure) if failure.error == CANCELLED => return Ok(()),
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Discovery has seen capture alive once; a merge without end looks again and again.
    fn alive(&self) -> Result<(), Failure> {
        let source = &self.job.plan.source;
        let heartbeat = Capture::look(self.job.plan)?.map(|capture| capture.heartbeat);
        let allowed = i64::from(source.capture_silent_minutes) * 60;
        match heartbeat {
            Some(heartbeat) if self.silver.now().seconds_since(heartbeat) <= allowed => Ok(()),
            Some(heartbeat) => Err(self.silent(format!("CaptureSilent since {heartbeat}"))),
            None => Err(self.silent("no heartbeat of capture was ever seen".to_owned())),
        }
    }

    fn silent(&self, message: String) -> Failure {
        let hint = match self.job.plan.source.capture.kind {
            CaptureKind::Headwater => format!(
                "headwater capture start --identifier {}",
                self.job.plan.identifier
            ),
            CaptureKind::Dms | CaptureKind::None => {
                "look at the DMS task and its replication slot".to_owned()
            }
        };
        Failure::new("CaptureSilent", message).hint(hint)
    }

    /// Everything that is in change files now.
    async fn round(&mut self, guard: &impl Guard, progress: &impl Progress) -> Result<(), Failure> {
        if let Some(reason) = self.position()?.needs_reseed {
            return Err(needs_reseed(self.work, &reason));
        }
        self.record_finished().await?;
        let capture = self.capture().await?;
        let listed = silver::listed(&self.changes)?;
        if let Some(pending) = self.silver.pending().cloned() {
            self.apply(pending.files, &listed, guard, progress).await?;
        }
        loop {
            let position = self.position()?;
            let pending = change_files::pending(listed.clone(), &position);
            if pending.is_empty() {
                return self.complete(position, capture.heartbeat).await;
            }
            let most = pending.len().min(self.limits.batch_files);
            let files = silver::chosen(
                &self.changes,
                &pending[..most],
                self.limits.batch_rows,
                self.limits.batch_bytes,
            )?;
            self.apply(files, &listed, guard, progress).await?;
        }
    }

    /// Capture, when it has passed the end of the load and still follows this table.
    async fn capture(&self) -> Result<Capture, Failure> {
        let position = self.position()?;
        let first = position.applied.is_none();
        let deadline = tokio::time::Instant::now() + self.limits.capture_wait;
        loop {
            let found = Capture::look(self.job.plan)?;
            if let Some(capture) = &found
                && let Some(reason) =
                    capture.broken(&self.work.source, position.epoch.as_deref(), &self.seed.t0)
            {
                return Err(needs_reseed(self.work, &reason));
            }
            match found {
                Some(capture) if !first || capture.heartbeat >= self.seed.load_ended => {
                    return Ok(capture);
                }
                found if tokio::time::Instant::now() >= deadline => {
                    return Err(self.behind(found.map(|capture| capture.heartbeat)));
                }
                _ => tokio::time::sleep(self.limits.capture_poll).await,
            }
        }
    }

    fn behind(&self, heartbeat: Option<Timestamp>) -> Failure {
        let seen = heartbeat.map_or("no heartbeat was seen".to_owned(), |heartbeat| {
            format!("its last heartbeat is of {heartbeat}")
        });
        let hint = match self.job.plan.source.capture.kind {
            CaptureKind::Headwater => {
                format!(
                    "headwater capture status --wait --identifier {}",
                    self.job.plan.identifier
                )
            }
            CaptureKind::Dms | CaptureKind::None => {
                "look at the DMS task and its replication slot".to_owned()
            }
        };
        Failure::new(
            "CaptureBehind",
            format!(
                "capture has not passed the end of the load at {}: {seen}",
                self.seed.load_ended
            ),
        )
        .hint(hint)
    }

    /// One batch: read, committed, recorded.
    async fn apply(
        &mut self,
        files: Vec<String>,
        listed: &[String],
        guard: &impl Guard,
        progress: &impl Progress,
    ) -> Result<(), Failure> {
        match self.writer {
            Writer::Library => self.apply_here(files, listed, guard, progress).await,
            Writer::Spark(submit) => {
                self.apply_by_spark(submit, files, listed, guard, progress)
                    .await
            }
        }
    }

    /// One batch, weighed against the table before.
    async fn apply_here(
        &mut self,
        files: Vec<String>,
        listed: &[String],
        guard: &impl Guard,
        progress: &impl Progress,
    ) -> Result<(), Failure> {
        let position = self.position()?;
        let floors = silver::floors(&self.seed.t0, position.applied.as_ref(), listed);
        let changes = self.read(&files, &floors)?;
        let table = hudi::open(&self.folder).await?;
        let before = table.size().await?;
        let stored = stored(&table, &changes).await?;
        let effect = Effect::of(&changes, &stored);
        let base = table.newest_instant();
        drop(table);
        self.silver
            .begin(Pending {
                run_id: self.job.run_id.to_owned(),
                operation: Operation::Merge,
                base_instant: base,
                files: files.clone(),
                rows_after: effect.rows_after(before.rows),
            })
            .await?;
        kill::point("merge.after.pending");
        guard.may_commit().await?;
        let instant = self.commit(&changes, &effect, &before).await?;
        self.record(&files, changes.rows, changes.newest.as_ref(), instant)
            .await?;
        kill::point("merge.after.position");
        self.count(&changes, &effect);
        progress.add(changes.rows, changes.bytes);
        Ok(())
    }

    fn read(&self, files: &[String], floors: &Floors) -> Result<Changes, Failure> {
        Changes::read(&self.changes, files, &self.adapter, &self.keys, floors)
    }

    /// The commit of a batch, and whether the table has the rows then that it must have.
    async fn commit(
        &mut self,
        changes: &Changes,
        effect: &Effect<'_>,
        before: &Size,
    ) -> Result<Option<String>, Failure> {
        self.report.rows_after = Some(before.rows);
        self.size = Some(*before);
        if effect.changes.is_empty() {
            return Ok(None);
        }
        let rows = changes.rows_of(&effect.changes)?;
        silver::check_partitions(self.work, &rows)?;
        let layout = Layout::for_rows(std::slice::from_ref(&rows), before);
        let mut table = hudi::open_to_write(&self.folder, layout).await?;
        kill::point("merge.before.commit");
        let instant = table.upsert(vec![rows]).await?;
        kill::point("merge.after.commit");
        let after = table.size().await?;
        self.size = Some(after);
        self.check(effect.rows_after(before.rows), after.rows)
            .await?;
        self.report.rows_after = Some(after.rows);
        Ok(Some(instant))
    }

    /// Rows before + inserted - deleted = rows after; where not, the table is marked until its next seed.
    async fn check(&mut self, expected: Option<u64>, found: u64) -> Result<(), Failure> {
        let Some(expected) = expected.filter(|expected| *expected != found) else {
            return Ok(());
        };
        let reason = format!("it has {found} rows after a merge where it must have {expected}");
        let failure = Failure::new(
            "RowsDoNotAddUp",
            format!("`{}` needs re-seed: {reason}", self.work.target_table),
        )
        .hint(self.work.reload());
        let position = self.position()?;
        self.silver
            .write(&Position {
                needs_reseed: Some(reason),
                ..position
            })
            .await?;
        Err(failure)
    }

    fn count(&mut self, changes: &Changes, effect: &Effect<'_>) {
        self.report.rows += changes.rows;
        self.report.bytes += changes.bytes;
        self.report.inserted += effect.inserted;
        self.report.updated += effect.updated;
        self.report.deleted += effect.deleted;
        self.report.dropped += changes.dropped + effect.stale;
    }

    /// Writes that a batch was applied.
    async fn record(
        &mut self,
        files: &[String],
        rows: u64,
        read: Option<&ChangeSeq>,
        instant: Option<String>,
    ) -> Result<(), Failure> {
        let position = self.position()?;
        let applied = files.last().map(|file| Applied {
            file: file.clone(),
            trx_seq: newest(&self.seed.t0, position.applied.as_ref(), read),
            instant,
            rows,
        });
        self.silver
            .write(&Position {
                applied: applied.or(position.applied.clone()),
                pending: None,
                ..position
            })
            .await
    }

    /// Writes how far the table is complete.
    async fn complete(&mut self, position: Position, heartbeat: Timestamp) -> Result<(), Failure> {
        let complete_through = position.complete_through.max(Some(heartbeat));
        self.report.complete_through = complete_through;
        if position.complete_through != complete_through {
            self.silver
                .write(&Position {
                    complete_through,
                    ..position
                })
                .await?;
        }
        Ok(())
    }
}

/// A table keeps the key and the partitions that it was made with: by others, rows would not be found.
fn check_options(work: &TableWork, table: &HudiTable) -> Result<(), Failure> {
    for (attribute, option) in [
        ("primary_key", "hoodie.table.recordkey.fields"),
        ("partition_path", "hoodie.table.partition.fields"),
    ] {
        let made = table.option(option);
        let wanted = work.hudi_options.get(option).cloned().unwrap_or_default();
        if made != wanted {
            return Err(needs_reseed(
                work,
                &format!("`hudi_config.{attribute}` is `{wanted}`, and it was made with: `{made}`"),
            ));
        }
    }
    Ok(())
}

fn needs_reseed(work: &TableWork, reason: &str) -> Failure {
    Failure::new(
        "NeedsReseed",
        format!("`{}` needs re-seed: {reason}", work.target_table),
    )
    .hint(work.reload())
}

/// The last change that was applied never moves back.
fn newest(t0: &ChangeSeq, applied: Option<&Applied>, read: Option<&ChangeSeq>) -> ChangeSeq {
    [Some(t0), applied.map(|applied| &applied.trx_seq), read]
        .into_iter()
        .flatten()
        .max()
        .unwrap_or(t0)
        .clone()
}

/// A change need not carry every column.
fn nullable(schema: &Schema) -> Arc<Schema> {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| Field::new(field.name(), field.data_type().clone(), true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// The stored `trx_seq` of each key that has a change: those that the table has.
async fn stored(table: &HudiTable, changes: &Changes) -> Result<HashMap<String, String>, Failure> {
    let mut stored = HashMap::new();
    if changes.by_key.is_empty() {
        return Ok(stored);
    }
    let mut batches = table.read(Some(&[RECORD_KEY, ORDERING_COLUMN])).await?;
    while let Some(batch) = batches.try_next().await? {
        let keys = texts(&batch, RECORD_KEY)?;
        let seqs = texts(&batch, ORDERING_COLUMN)?;
        for (key, seq) in keys.iter().zip(seqs.iter()) {
            let key = key.unwrap_or_default();
            if changes.by_key.contains_key(key) {
                stored.insert(key.to_owned(), seq.unwrap_or_default().to_owned());
            }
        }
    }
    Ok(stored)
}

fn texts(batch: &RecordBatch, name: &str) -> Result<arrow::array::StringArray, Failure> {
    batch
        .column_by_name(name)
        .filter(|column| column.data_type() == &DataType::Utf8)
        .map(|column| column.as_string::<i32>().clone())
        .ok_or_else(|| {
            Failure::new(
                "HudiFailed",
                format!("the table has no text column `{name}`"),
            )
        })
}

/// What a batch does to the table.
struct Effect<'c> {
    /// The changes that do something.
    changes: Vec<&'c Change>,
    inserted: u64,
    updated: u64,
    deleted: u64,
    /// Changes older than the row that is stored.
    stale: u64,
}

impl<'c> Effect<'c> {
    /// Rows of the table afterwards.
    fn rows_after(&self, before: u64) -> Option<u64> {
        (before + self.inserted).checked_sub(self.deleted)
    }

    fn of(changes: &'c Changes, stored: &HashMap<String, String>) -> Self {
        let mut effect = Self {
            changes: Vec::new(),
            inserted: 0,
            updated: 0,
            deleted: 0,
            stale: 0,
        };
        for (key, change) in &changes.by_key {
            match (stored.get(key), change.deleted) {
                (Some(seq), _) if *seq > change.seq => {
                    effect.stale += 1;
                    continue;
                }
                (None, true) => continue,
                (None, false) => effect.inserted += 1,
                (Some(_), false) => effect.updated += 1,
                (Some(_), true) => effect.deleted += 1,
            }
            effect.changes.push(change);
        }
        // In order of the files, so that a batch that is done again writes the same.
        effect.changes.sort_by_key(|change| change.place());
        effect
    }
}
