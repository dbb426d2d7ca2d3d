//! How far running steps are: written by the worker, shown by `run` and `show`.

use crate::{Local, port_error};
use pipeline::time::Timestamp;
use rusqlite::params;
use serde::Serialize;
use tasks::port::{Clock, PortError};

/// How far one step is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepProgress {
    pub step: String,
    pub rows: u64,
    pub bytes: u64,
    /// Rows to come in all, where known or estimated.
    pub expected: Option<u64>,
    pub began: Timestamp,
    pub updated: Timestamp,
}

impl Local {
    /// Keeps how far a step of a run is: totals so far, not additions. `step` is the name of the planned step.
    /// Each call is a transaction on disk: call it about once a second, and once at the end.
    pub fn progress(
        &self,
        run_id: &str,
        step: &str,
        rows: u64,
        bytes: u64,
        expected: Option<u64>,
    ) -> Result<(), PortError> {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.database()
            .prepare_cached(
                "INSERT INTO progress (run_id, step, rows, bytes, expected, began, updated)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
                 ON CONFLICT DO UPDATE SET rows = ?3, bytes = ?4, expected = ?5, updated = ?6",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    run_id,
                    step,
                    signed(rows),
                    signed(bytes),
                    expected.map(signed),
                    self.now().0
                ])
            })
            .map(|_| ())
            .map_err(port_error)
    }

    /// How far the steps of a run are, in order of name.
    pub fn progress_of(&self, run_id: &str) -> Result<Vec<StepProgress>, PortError> {
        let database = self.database();
        let mut statement = database
            .prepare_cached("SELECT step, rows, bytes, expected, began, updated FROM progress WHERE run_id = ?1 ORDER BY step")
            .map_err(port_error)?;
        statement
            .query_map([run_id], |row| {
                Ok(StepProgress {
                    step: row.get(0)?,
                    rows: row.get::<_, i64>(1)?.unsigned_abs(),
                    bytes: row.get::<_, i64>(2)?.unsigned_abs(),
                    expected: row.get::<_, Option<i64>>(3)?.map(i64::unsigned_abs),
                    began: Timestamp(row.get(4)?),
                    updated: Timestamp(row.get(5)?),
                })
            })
            .and_then(Iterator::collect)
            .map_err(port_error)
    }
}
