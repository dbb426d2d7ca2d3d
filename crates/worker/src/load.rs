//! Postgres to bronze: all rows of one table, as one snapshot shows them, into Parquet files beside a manifest.
//!
//! Preflight, T0, snapshot, copy, check, manifest; nothing is written before preflight is over, and a load exists only when its
//! manifest does. The rows come by binary COPY in pieces of the table over several connections that share the snapshot.

mod constant;
mod copy;
mod files;
mod folder;
mod moment;
mod preflight;
mod reading;
mod rows;
mod slices;
mod snapshot;
pub mod spark;
mod tap;
#[cfg(test)]
mod tests;

use crate::context::{Guard, Progress};
use crate::failure::Failure;
use crate::job::Job;
use crate::secret::Secret;
use crate::source::{Table, connect};
use crate::types::Carried;
use copy::Copied;
use files::{FileLimits, Layout};
use folder::Folder;
use moment::T0;
use pipeline::plan::Load;
use pipeline::position::{Manifest, ManifestColumn};
use pipeline::report::StepReport;
use pipeline::seq::ChangeSeq;
use preflight::Cover;
use reading::From;
use rows::BatchLimits;
use snapshot::Snapshot;
use std::sync::Arc;
use std::time::Duration;

/// Version of the manifest's JSON form.
const MANIFEST_SCHEMA_VERSION: u32 = 1;

/// Columns of all connections together: their buffers stay below 200 MiB.
const COLUMNS_AT_ONCE_MAX: usize = 4000;

/// Bounds of time and memory.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// How long transactions in progress are waited for.
    open_transactions: Duration,
    slice_pages_min: u64,
    batch: BatchLimits,
    file_bytes: usize,
    /// Of all connections together.
    row_groups_bytes: usize,
}

const LIMITS: Limits = Limits {
    open_transactions: Duration::from_secs(60),
    slice_pages_min: slices::SLICE_PAGES_MIN,
    batch: BatchLimits {
        rows: 8 * 1024,
        bytes: 1 << 20,
    },
    file_bytes: 128 << 20,
    row_groups_bytes: 64 << 20,
};

/// Loads a table into `run=<run_id>`, or says again what an earlier attempt of the same run did.
pub async fn run(
    job: &Job<'_>,
    load: &Load,
    guard: &impl Guard,
    progress: &impl Progress,
) -> Result<StepReport, Failure> {
    run_within(LIMITS, job, load, guard, progress).await
}

async fn run_within(
    limits: Limits,
    job: &Job<'_>,
    load: &Load,
    guard: &impl Guard,
    progress: &impl Progress,
) -> Result<StepReport, Failure> {
    let folder = Folder::new(&load.loads, job.run_id)?;
    if let Some(manifest) = folder.manifest()? {
        let note = "an earlier attempt of this run had loaded it".to_owned();
        return Ok(report(&folder, &manifest, vec![note]));
    }
    let from = From::Table(load.source.clone());
    let Begun {
        secret,
        table,
        carried,
        cover,
        t0,
        snapshot,
    } = begin(limits, job, load, &from).await?;

    let seq = ChangeSeq::new(t0.at, 0);
    let names = table.columns.iter().map(|column| column.name.clone());
    let columns: Vec<_> = names.zip(carried.iter().cloned()).collect();
    let connections = connections(load.parallelism, columns.len());
    let copy = copy::Copy {
        table: &table,
        statements: slices::statements(&table, &carried, connections, limits.slice_pages_min),
        connections,
        snapshot: &snapshot.id,
        layout: Arc::new(Layout::new(&columns, &seq)?),
        columns,
        batch: limits.batch,
        files: FileLimits {
            file_bytes: limits.file_bytes,
            row_group_bytes: limits.row_groups_bytes / connections as usize,
        },
    };
    folder.prepare()?;
    local::kill::point("load.before.files");
    progress.expect(table.rows_estimate);
    let copied = async {
        // Neither is given up when the other fails: no thread writes after this.
        let (copied, counted) = tokio::join!(
            copy.run(&secret, &folder.place, progress),
            snapshot.count(&table, &from)
        );
        let copied = copied?;
        check(&table, &copied, counted?)?;
        guard.may_commit().await?;
        Ok(copied)
    };
    let copied = copied.await.inspect_err(|_| folder.abandon())?;
    let notes = notes(&table, &t0);
    let manifest = manifest(job, &table, seq, &snapshot, cover, copied);
    local::kill::point("load.before.manifest");
    folder.complete(&manifest)?;
    local::kill::point("load.after.manifest");
    Ok(report(&folder, &manifest, notes))
}

/// A load of which everything is settled but its rows.
struct Begun {
    secret: Secret,
    table: Table,
    carried: Vec<Carried>,
    cover: Option<Cover>,
    t0: T0,
    snapshot: Snapshot,
}

/// Preflight, T0, snapshot.
async fn begin(limits: Limits, job: &Job<'_>, load: &Load, from: &From) -> Result<Begun, Failure> {
    let secret = job.secret().await?;
    let client = connect(&secret).await?;
    let table = from.look(&client, load).await?;
    let carried = preflight::columns(&table)?;
    let cover = preflight::cover(&client, job, load, &table).await?;
    let t0 = t0(&client, limits, job, cover.as_ref()).await?;
    let snapshot = Snapshot::export(&secret, &table, from).await?;
    unchanged(&table, from.look(&client, load).await?)?;
    Ok(Begun {
        secret,
        table,
        carried,
        cover,
        t0,
        snapshot,
    })
}

/// As many as are wanted, fewer for a table with very many columns: each column of each connection has buffers.
fn connections(wanted: u32, columns: usize) -> u32 {
    let possible = (COLUMNS_AT_ONCE_MAX / columns.max(1)).max(1);
    wanted.clamp(1, possible as u32)
}

/// Nothing is compared with T0 when no changes follow: then nobody is waited for.
async fn t0(
    client: &tokio_postgres::Client,
    limits: Limits,
    job: &Job<'_>,
    cover: Option<&Cover>,
) -> Result<T0, Failure> {
    match cover {
        Some(_) => {
            moment::t0(
                client,
                limits.open_transactions,
                job.plan.source.clock_skew_minutes,
            )
            .await
        }
        None => Ok(T0 {
            at: moment::clock(client).await?,
            note: None,
        }),
    }
}

/// The snapshot's connection now keeps the table as it is: it must still be what preflight saw.
fn unchanged(before: &Table, now: Table) -> Result<(), Failure> {
    if before.oid == now.oid && before.columns == now.columns {
        return Ok(());
    }
    Err(Failure::new(
        "TableChanged",
        format!(
            "`{}` of the source was altered just when its load began",
            before.name
        ),
    )
    .hint("run the load again"))
}

/// What was decoded against what the server says that it sent, and that against `count(*)` under the same snapshot.
fn check(table: &Table, copied: &Copied, counted: Option<u64>) -> Result<(), Failure> {
    let (rows, sent) = (copied.rows, copied.rows_sent);
    let counted = counted.unwrap_or(sent);
    if rows == sent && sent == counted {
        return Ok(());
    }
    Err(Failure::new(
        "RowsDiffer",
        format!(
            "the load of `{}` does not have the rows of its snapshot: {rows} read, {sent} sent, {counted} counted",
            table.name
        ),
    )
    .hint("were partitions attached or detached meanwhile? run the load again"))
}

fn notes(table: &Table, t0: &T0) -> Vec<String> {
    let mut notes: Vec<String> = t0.note.iter().cloned().collect();
    if !table.generated.is_empty() {
        notes.push(format!(
            "generated columns are left out, as changes do not carry them: `{}`",
            table.generated.join("`, `")
        ));
    }
    notes
}

fn manifest(
    job: &Job<'_>,
    table: &Table,
    t0: ChangeSeq,
    snapshot: &Snapshot,
    cover: Option<Cover>,
    copied: Copied,
) -> Manifest {
    let columns = table.columns.iter().map(|column| ManifestColumn {
        name: column.name.clone(),
        postgres_type: column.shown_type.clone(),
    });
    let (epoch, slot_lsn) = cover.map(|cover| (cover.epoch, cover.slot_lsn)).unzip();
    Manifest {
        schema_version: MANIFEST_SCHEMA_VERSION,
        run_id: job.run_id.to_owned(),
        table: table.name.to_string(),
        rows: copied.rows,
        bytes: copied.files.iter().map(|file| file.bytes).sum(),
        files: copied.files,
        t0,
        snapshot: snapshot.text.clone(),
        load_ended: snapshot.taken,
        wal_lsn: snapshot.wal_lsn.clone(),
        slot_lsn,
        epoch,
        primary_key: table.primary_key.clone(),
        columns: columns.collect(),
        nulled: copied.nulled,
    }
}

/// What a complete load says of itself; older loads go.
fn report(folder: &Folder, manifest: &Manifest, mut notes: Vec<String>) -> StepReport {
    // The load is there whatever becomes of the ones before it.
    if let Err(failure) = folder.keep_newest() {
        notes.push(failure.message);
    }
    StepReport {
        rows: manifest.rows,
        bytes: manifest.bytes,
        nulled: manifest.nulled.clone(),
        notes,
        ..StepReport::default()
    }
}
