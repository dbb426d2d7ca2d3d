//! What a step says of itself: the result that the worker writes to the ledger.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The result of one attempt of one step. COMPLETED without a result is a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepResult {
    pub schema_version: u32,
    pub run_id: String,
    pub index: u32,
    pub name: String,
    pub attempt: u32,
    pub started: Timestamp,
    pub ended: Timestamp,
    pub outcome: StepOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    Succeeded(StepReport),
    Failed(StepFailure),
}

/// What a successful step did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StepReport {
    /// Rows read from the source, the load or the change files.
    pub rows: u64,
    pub bytes: u64,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    /// Redeliveries and changes that the load already held.
    pub dropped: u64,
    /// Rows in the table afterwards, where known.
    pub rows_after: Option<u64>,
    /// The source time up to which the table is complete, where known.
    pub complete_through: Option<Timestamp>,
    /// NaN and infinities that became NULL, by column.
    pub nulled: BTreeMap<String, u64>,
    /// One line each for a reader of the notice.
    pub notes: Vec<String>,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepFailure {
    /// A stable name (`NeedsReseed`, `DuplicateKeys`, `SourceUnreachable` ...).
    pub error: String,
    /// One line; names the thing in backticks.
    pub message: String,
    pub hint: Option<String>,
    /// Lines of the log that show the root cause; never a secret.
    pub root_cause: Vec<String>,
}
