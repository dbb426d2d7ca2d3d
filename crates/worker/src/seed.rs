//! `seed`: a new generation of a silver table from its newest complete load, published by one write of its position record.
//!
//! Order: what is begun is recorded, the generation is built and checked, the position record publishes it, the pointer file follows.
//! A seed that is killed leaves nothing visible; what it left is removed by whoever writes the table next.

mod distinct;
mod load;
pub mod spark;
#[cfg(test)]
mod tests;

use crate::context::{Guard, Progress};
use crate::failure::Failure;
use crate::hudi::{self, HudiTable, Layout, Size};
use crate::job::Job;
use crate::silver::{Adapter, Capture, KeyColumns, Silver, check_columns, check_partitions, space};
use crate::store::Location;
use arrow::record_batch::RecordBatch;
use load::CompleteLoad;
use local::kill;
use pipeline::plan::{CaptureKind, Engine, TableWork};
use pipeline::position::{Manifest, Operation, Pending, Position, Seed};
use pipeline::report::StepReport;
use std::time::{Duration, UNIX_EPOCH};
use tasks::port::{Clock, Ledger};

/// How long a generation is kept as a way back.
const GENERATIONS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Rows of one commit …
const CHUNK_ROWS_MAX: u64 = 500_000;
/// … and their bytes in memory: a chunk is there several times while it is written.
const CHUNK_MEMORY_MAX: u64 = 64 << 20;

/// Seeds a table. A retry of a run that had published already repeats its report.
pub async fn run(
    ledger: &(impl Ledger + Clock),
    job: &Job<'_>,
    work: &TableWork,
    guard: &impl Guard,
    progress: &impl Progress,
) -> Result<StepReport, Failure> {
    let mut ready = match begin(ledger, job, work, Engine::Native).await? {
        Begun::Published(report) => return Ok(report),
        Begun::Ready(ready) => *ready,
    };
    let size = build(&ready.silver, job, work, &ready.load, guard, progress).await?;
    check(work, ready.distinct, &size)?;
    ready.publish(job, Engine::Native, guard).await?;
    Ok(ready.report(work, size))
}

/// A seed whose generation is to be built, or was published by an earlier attempt.
enum Begun<'a, L> {
    Published(StepReport),
    Ready(Box<Ready<'a, L>>),
}

/// A seed that is written down as begun.
struct Ready<'a, L> {
    silver: Silver<'a, L>,
    load: CompleteLoad,
    /// Keys of the load: each has one row.
    distinct: u64,
}

/// Everything before the generation is built.
async fn begin<'a, L: Ledger + Clock>(
    ledger: &'a L,
    job: &Job<'_>,
    work: &'a TableWork,
    engine: Engine,
) -> Result<Begun<'a, L>, Failure> {
    let mut silver = Silver::lock(ledger, work).await?;
    silver.repair().await?;
    if let Some(seed) = silver.seed()
        && seed.run_id == job.run_id
    {
        let manifest = load::manifest_of(work, &seed.load_run_id)?;
        let table = hudi::open(&silver.generation(job.run_id)).await?;
        let report = report(work, &manifest, seed.rows, table.size().await?);
        return Ok(Begun::Published(report));
    }
    let load = load::newest(work)?;
    refuse(job, work, &load, silver.seed(), engine)?;
    let keys = KeyColumns::of(work);
    let distinct = distinct::count(work, &load, &keys)?;
    if distinct != load.manifest.rows {
        return Err(Failure::new(
            "LoadDamaged",
            format!(
                "the load of `{}` has {distinct} rows where its manifest says {}",
                work.source, load.manifest.rows
            ),
        )
        .hint(work.reload()));
    }
    silver.begin(pending(job.run_id)).await?;
    silver.remove_generation(job.run_id)?;
    Ok(Begun::Ready(Box::new(Ready {
        silver,
        load,
        distinct,
    })))
}

fn pending(run_id: &str) -> Pending {
    Pending {
        run_id: run_id.to_owned(),
        operation: Operation::Seed,
        base_instant: None,
        files: Vec::new(),
        rows_after: None,
    }
}

/// Why this load cannot be seeded, before anything is written.
fn refuse(
    job: &Job<'_>,
    work: &TableWork,
    load: &CompleteLoad,
    published: Option<&Seed>,
    engine: Engine,
) -> Result<(), Failure> {
    let manifest = &load.manifest;
    if work.primary_key.is_empty() {
        return Err(Failure::new(
            "NoPrimaryKey",
            format!(
                "`{}` has no key columns, so its rows cannot be told apart",
                work.source
            ),
        )
        .hint("name them in `hudi_config.primary_key` of this table"));
    }
    check_columns(work, &load.schema, engine)?;
    if let Some(published) = published
        && manifest.run_id != published.load_run_id
        && manifest.t0 <= published.t0
    {
        return Err(Failure::new(
            "LoadOlder",
            format!(
                "the newest load of `{}` is not newer than the one that is published: `{}`",
                work.source, published.load_run_id
            ),
        )
        .hint(work.reload()));
    }
    follows(job, work, manifest)
}

/// Whether the changes that follow this load are those that capture writes now.
fn follows(job: &Job<'_>, work: &TableWork, manifest: &Manifest) -> Result<(), Failure> {
    let source = &job.plan.source;
    if !source.changes_follow || source.capture.kind != CaptureKind::Headwater {
        return Ok(());
    }
    let reason = match Capture::look(job.plan)? {
        Some(capture) => capture.broken(&work.source, manifest.epoch.as_deref(), &manifest.t0),
        None => Some("there is no state of capture beside the change files".to_owned()),
    };
    match reason {
        None => Ok(()),
        Some(reason) => Err(Failure::new(
            "NeedsReload",
            format!("the load of `{}` needs reload: {reason}", work.source),
        )
        .hint(work.reload())),
    }
}

/// Builds the generation in commits of bounded size.
async fn build<L: Ledger>(
    silver: &Silver<'_, L>,
    job: &Job<'_>,
    work: &TableWork,
    load: &CompleteLoad,
    guard: &impl Guard,
    progress: &impl Progress,
) -> Result<Size, Failure> {
    let folder = silver.generation(job.run_id);
    guard.may_commit().await?;
    progress.expect(load.manifest.rows);
    let columns = hudi::columns(&load.schema);
    let mut table = hudi::create(&folder, &work.hudi_options, &columns).await?;
    let adapter = Adapter::of(columns, work);
    let mut chunk = Chunk::default();
    for file in &load.manifest.files {
        for batch in load.reader(work, &file.name, None)? {
            let batch = batch.map_err(|error| load.unreadable(work, &file.name, &error))?;
            check_partitions(work, &batch)?;
            chunk.add(adapter.adapt(&batch)?);
            if chunk.is_full() {
                table = append(table, &folder, std::mem::take(&mut chunk), guard, progress).await?;
            }
        }
    }
    if chunk.rows > 0 {
        table = append(table, &folder, chunk, guard, progress).await?;
    }
    table.size().await
}

/// Rows of one commit.
#[derive(Default)]
struct Chunk {
    batches: Vec<RecordBatch>,
    rows: u64,
    memory: u64,
}

impl Chunk {
    fn add(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.rows += batch.num_rows() as u64;
            self.memory += hudi::memory(&batch);
            self.batches.push(batch);
        }
    }

    fn is_full(&self) -> bool {
        self.rows >= CHUNK_ROWS_MAX || self.memory >= CHUNK_MEMORY_MAX
    }
}

async fn append(
    table: HudiTable,
    folder: &Location,
    chunk: Chunk,
    guard: &impl Guard,
    progress: &impl Progress,
) -> Result<HudiTable, Failure> {
    drop(table);
    guard.may_commit().await?;
    let layout = Layout::for_rows(&chunk.batches, &Size::default());
    let mut table = hudi::open_to_write(folder, layout).await?;
    kill::point("seed.before.append");
    table.append(chunk.batches).await?;
    kill::point("seed.after.append");
    progress.add(chunk.rows, chunk.memory);
    Ok(table)
}

/// Distinct keys of the load against rows of the table.
fn check(work: &TableWork, distinct: u64, size: &Size) -> Result<(), Failure> {
    if size.rows == distinct {
        return Ok(());
    }
    Err(Failure::new(
        "RowsDoNotAddUp",
        format!(
            "the new generation of `{}` has {} rows where its load has {distinct} keys",
            work.target_table, size.rows
        ),
    )
    .hint(work.reload()))
}

impl<L: Ledger + Clock> Ready<'_, L> {
    async fn publish(
        &mut self,
        job: &Job<'_>,
        engine: Engine,
        guard: &impl Guard,
    ) -> Result<(), Failure> {
        publish(&mut self.silver, job, &self.load.manifest, engine, guard).await
    }

    fn report(&self, work: &TableWork, size: Size) -> StepReport {
        report(work, &self.load.manifest, self.distinct, size)
    }
}

/// Publishes: the position record first, which is what counts; then the pointer that follows it.
async fn publish<L: Ledger + Clock>(
    silver: &mut Silver<'_, L>,
    job: &Job<'_>,
    manifest: &Manifest,
    engine: Engine,
    guard: &impl Guard,
) -> Result<(), Failure> {
    let before = silver.seed().map(|seed| seed.run_id.clone());
    guard.may_commit().await?;
    kill::point("seed.before.publish");
    silver
        .write(&Position {
            schema_version: 1,
            epoch: manifest.epoch.clone(),
            seed: Some(Seed {
                run_id: job.run_id.to_owned(),
                load_run_id: manifest.run_id.clone(),
                t0: manifest.t0.clone(),
                load_ended: manifest.load_ended,
                rows: manifest.rows,
            }),
            applied: None,
            complete_through: Some(manifest.t0.timestamp()),
            engine,
            pending: None,
            needs_reseed: None,
        })
        .await?;
    kill::point("seed.between.publish");
    silver.point()?;
    kill::point("seed.after.publish");
    let now = Duration::from_millis(u64::try_from(silver.now().0).unwrap_or_default());
    silver.remove_old_generations(
        before.as_deref(),
        UNIX_EPOCH + now.saturating_sub(GENERATIONS_KEPT),
    )
}

fn report(work: &TableWork, manifest: &Manifest, rows: u64, size: Size) -> StepReport {
    StepReport {
        rows,
        bytes: manifest.bytes,
        inserted: rows,
        rows_after: Some(size.rows),
        complete_through: Some(manifest.t0.timestamp()),
        nulled: manifest.nulled.clone(),
        notes: vec![
            format!("seeded from the load of `{}`", manifest.run_id),
            space(work, &size),
        ],
        ..StepReport::default()
    }
}
