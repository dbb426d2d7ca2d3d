//! What is settled before any data moves: that every column can be carried, and that capture covers the load.

use crate::failure::Failure;
use crate::job::Job;
use crate::source::{Column, Table, failed};
use crate::store;
use crate::types::{Carried, carried, lake_column};
use pipeline::path::CAPTURE_FILE;
use pipeline::plan::{CaptureKind, Load};
use pipeline::position::CaptureState;
use std::io;
use tokio_postgres::Client;

/// How each column is carried, or all that stands against it at once.
pub fn columns(table: &Table) -> Result<Vec<Carried>, Failure> {
    if table.columns.is_empty() {
        return Err(Failure::new(
            "NoColumns",
            format!("`{}` of the source has no column to load", table.name),
        )
        .hint("add a column, or switch the step off"));
    }
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for column in &table.columns {
        match carried_column(table, column) {
            Ok(carried) => found.push(carried),
            Err(failure) => failures.push(failure),
        }
    }
    match failures.len() {
        0 => Ok(found),
        1 => Err(failures.remove(0)),
        _ => Err(together(failures)),
    }
}

fn carried_column(table: &Table, column: &Column) -> Result<Carried, Failure> {
    if let Some(ours) = lake_column(&column.name) {
        let (name, table) = (&column.name, &table.name);
        return Err(Failure::new(
            "ColumnReserved",
            format!("column `{name}` of `{table}` is named like one that every load has: `{ours}`"),
        )
        .hint(format!(
            "rename it in the source, or load a view that names `{name}` differently"
        )));
    }
    carried(&column.facts).map_err(|unsupported| {
        unsupported.failure(&table.name.to_string(), &column.name, &column.shown_type)
    })
}

/// One failure of several, under the name of the first.
fn together(failures: Vec<Failure>) -> Failure {
    let join = |texts: Vec<&str>| texts.join("; ");
    let message = join(
        failures
            .iter()
            .map(|failure| failure.message.as_str())
            .collect(),
    );
    let hint = join(
        failures
            .iter()
            .filter_map(|failure| failure.hint.as_deref())
            .collect(),
    );
    Failure::new(failures[0].error, message).hint(hint)
}

/// What is known of the capture that covers a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    pub epoch: String,
    /// The confirmed position of the slot.
    pub slot_lsn: String,
}

/// Proves that capture covers the load, when changes are to follow it.
pub async fn cover(
    client: &Client,
    job: &Job<'_>,
    load: &Load,
    table: &Table,
) -> Result<Option<Cover>, Failure> {
    if !load.changes_follow {
        return Ok(None);
    }
    let epoch = match job.plan.source.capture.kind {
        CaptureKind::None => return Ok(None),
        CaptureKind::Dms => dms_epoch(job),
        CaptureKind::Headwater => followed(job, table)?,
    };
    let slot_lsn = slot(client, job).await?;
    Ok(Some(Cover { epoch, slot_lsn }))
}

/// DMS keeps no epoch of its own: slot and task are its identity.
fn dms_epoch(job: &Job<'_>) -> String {
    let capture = &job.plan.source.capture;
    format!(
        "dms/{}/{}",
        capture.slot,
        capture.task.as_deref().unwrap_or_default()
    )
}

fn not_covered(job: &Job<'_>, message: String) -> Failure {
    let hint = match job.plan.source.capture.kind {
        CaptureKind::Headwater => format!(
            "headwater capture start --identifier {}",
            job.plan.identifier
        ),
        CaptureKind::Dms | CaptureKind::None => {
            "start the DMS task whose slot it is, and wait until it replicates".to_owned()
        }
    };
    Failure::new("NotCovered", message).hint(hint)
}

/// The epoch of our own capture, if it follows the table.
fn followed(job: &Job<'_>, table: &Table) -> Result<String, Failure> {
    let name = &table.name;
    if let Some(reason) = table.not_followed {
        return Err(Failure::new(
            "NotFollowed",
            format!("changes are to follow, but those of `{name}` are not captured: {reason}"),
        )
        .hint("load it under an identifier without incremental pipelines, or with `capture.kind` `none`"));
    }
    let Some(state) = state(job)? else {
        return Err(not_covered(
            job,
            format!(
                "changes are to follow, but capture was never started: `{name}` would lose those made during its load"
            ),
        ));
    };
    let slot = &job.plan.source.capture.slot;
    if state.slot != *slot {
        let other = &state.slot;
        return Err(not_covered(
            job,
            format!("capture reads another slot than `{slot}`: `{other}`"),
        ));
    }
    if !state.tables.contains(&name.to_string()) {
        return Err(not_covered(
            job,
            format!("capture does not follow `{name}`"),
        ));
    }
    Ok(state.epoch)
}

fn state(job: &Job<'_>) -> Result<Option<CaptureState>, Failure> {
    let root = job.plan.zones.changes_root(&job.plan.source.db);
    let place = store::location(&format!("{root}/{CAPTURE_FILE}"))?;
    let unreadable = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(
            "CaptureUnreadable",
            format!("what capture says of itself cannot be read: `{place}`"),
        )
        .caused_by(error)
    };
    match place.read() {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| unreadable(&error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(&error)),
    }
}

/// The confirmed position of the slot, if it is alive.
async fn slot(client: &Client, job: &Job<'_>) -> Result<String, Failure> {
    let slot = &job.plan.source.capture.slot;
    let row = client
        .query_opt(
            "SELECT active, confirmed_flush_lsn::text, wal_status, database = current_database(), pg_is_in_recovery()
             FROM pg_replication_slots WHERE slot_name = $1",
            &[slot],
        )
        .await
        .map_err(|error| failed("the source's replication slots cannot be read", &error))?;
    let Some(row) = row else {
        return Err(not_covered(
            job,
            format!("the source has no replication slot `{slot}`"),
        ));
    };
    if row.get(4) {
        // Its clock and its snapshots say nothing of what the primary has committed.
        return Err(Failure::new(
            "SourceIsReplica",
            "the source is a read replica, and changes are to follow",
        )
        .hint("name the primary in the secret"));
    }
    if row.get::<_, Option<bool>>(3) != Some(true) {
        return Err(not_covered(
            job,
            format!("replication slot `{slot}` is of another database"),
        ));
    }
    if row.get::<_, Option<&str>>(2) == Some("lost") {
        return Err(not_covered(
            job,
            format!("replication slot `{slot}` is lost: the server removed log that it needed"),
        ));
    }
    if !row.get::<_, bool>(0) {
        return Err(not_covered(
            job,
            format!("nobody reads the replication slot `{slot}`"),
        ));
    }
    row.get::<_, Option<String>>(1).ok_or_else(|| {
        not_covered(
            job,
            format!("replication slot `{slot}` has no confirmed position yet"),
        )
    })
}
