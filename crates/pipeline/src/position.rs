//! Per table: the last change applied, and the seed that it builds on.

use crate::path::TableName;
use crate::plan::Engine;
use crate::seq::ChangeSeq;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The position record of one silver table. Its key is the logical table path (`Zones::silver_table`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub schema_version: u32,
    /// Identity of slot and task; `None` when no changes follow.
    pub epoch: Option<String>,
    /// The published generation and the load it was seeded from; `None` while the first seed is under way.
    pub seed: Option<Seed>,
    /// The last change file applied and the last change in it; `None` before the first merge.
    pub applied: Option<Applied>,
    /// All changes that the source committed before this are in the table.
    pub complete_through: Option<Timestamp>,
    pub engine: Engine,
    /// Work that was begun: written before the Hudi commit, cleared with its effect recorded.
    pub pending: Option<Pending>,
    /// Why the table cannot be trusted any more; only a seed heals it.
    #[serde(default)]
    pub needs_reseed: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// The run that seeded: the generation folder is `g=<run_id>`.
    pub run_id: String,
    /// The run whose load was seeded: `run=<load_run_id>`.
    pub load_run_id: String,
    /// `trx_seq` of the loaded rows: changes below it are in the load.
    pub t0: ChangeSeq,
    /// The source clock when the load's snapshot was taken: capture must have passed it before the first merge.
    pub load_ended: Timestamp,
    pub rows: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Path of the file below the table's folder of change files (`Zones::changes`).
    pub file: String,
    pub trx_seq: ChangeSeq,
    /// The Hudi instant of the commit, `None` when the files held nothing to apply.
    pub instant: Option<String>,
    pub rows: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    pub run_id: String,
    pub operation: Operation,
    /// The newest completed instant before the work began.
    pub base_instant: Option<String>,
    /// The exact change files of the batch, in order, below the table's folder of change files.
    pub files: Vec<String>,
    /// Rows that the table must have then, where known.
    #[serde(default)]
    pub rows_after: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Seed,
    Merge,
}

/// What a load leaves beside its files. A load exists only when its manifest does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub schema_version: u32,
    pub run_id: String,
    /// `schema.table` of the source.
    pub table: String,
    pub rows: u64,
    pub bytes: u64,
    pub files: Vec<ManifestFile>,
    /// `trx_seq` of every row.
    pub t0: ChangeSeq,
    /// Postgres's text of the exported snapshot (`pg_current_snapshot()`).
    pub snapshot: String,
    /// Source clock right after the snapshot was exported.
    pub load_ended: Timestamp,
    /// `pg_current_wal_lsn()` right after the snapshot was exported.
    pub wal_lsn: String,
    /// Confirmed position of the capture slot when the load began; `None` when no changes follow.
    pub slot_lsn: Option<String>,
    /// Capture epoch at the load; `None` when no changes follow.
    pub epoch: Option<String>,
    /// Primary key columns of the source, in key order; empty without a key.
    pub primary_key: Vec<String>,
    pub columns: Vec<ManifestColumn>,
    /// NaN and infinities that became NULL, by column.
    pub nulled: std::collections::BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// File name inside the load's folder.
    pub name: String,
    pub rows: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestColumn {
    pub name: String,
    /// Postgres's `format_type`.
    pub postgres_type: String,
}

/// The pointer file of a silver table (`PUBLISHED_FILE`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub schema_version: u32,
    /// Folder of the generation inside the table's folder: `g=<run_id>`.
    pub generation: String,
}

/// What our own capture says of itself (`CAPTURE_FILE`), replaced after each flush, after its change files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureState {
    pub schema_version: u32,
    /// Identity of the slot: a lost, recreated or rewound slot makes a new one.
    pub epoch: String,
    pub slot: String,
    /// Source commit time of the newest heartbeat whose change, and all before it, are in files.
    pub heartbeat: Timestamp,
    /// All that was committed below this is in files.
    pub flushed_lsn: String,
    /// Source clock when the epoch began.
    pub started: Timestamp,
    /// The number of the last change that was given one, for the numbers after a restart.
    pub last_seq: ChangeSeq,
    /// Tables that can no longer be followed, with the reason (`TRUNCATE`, an unchanged large value that was not sent).
    pub needs_reseed: std::collections::BTreeMap<String, NeedsReseed>,
    /// Tables that are followed, as `schema.table`, sorted.
    #[serde(default)]
    pub tables: Vec<String>,
    /// What tells this database from another, or from an older state of itself.
    #[serde(default)]
    pub identity: CaptureIdentity,
}

impl CaptureState {
    /// Why changes of a table can no longer be followed from a load at `t0` in this epoch.
    pub fn broken(&self, table: &TableName, epoch: Option<&str>, t0: &ChangeSeq) -> Option<String> {
        if epoch != Some(self.epoch.as_str()) {
            return Some("capture began anew: changes may be missing".to_owned());
        }
        let mark = self.needs_reseed.get(&table.to_string())?;
        (mark.at >= *t0).then(|| mark.reason.clone())
    }
}

/// The source as capture knew it at its last flush.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureIdentity {
    /// `system_identifier` of `pg_control_system()`.
    pub system_identifier: String,
    /// The count of the newest heartbeat in files: a database that has counted less was set back.
    pub beat: u64,
    /// What tells a followed table from another that has its name since, or was out of the publication in between.
    #[serde(default)]
    pub places: std::collections::BTreeMap<String, u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedsReseed {
    pub reason: String,
    /// The change that could not be carried: a seed whose T0 is later heals it.
    pub at: ChangeSeq,
}
