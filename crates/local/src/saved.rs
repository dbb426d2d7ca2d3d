//! What a driver keeps of an execution, so that another can go on.

use crate::executions::{HistoryEvent, json, status};
use crate::{Local, port_error};
use pipeline::time::Timestamp;
use rusqlite::{OptionalExtension, TransactionBehavior, params};
use serde_json::Value;
use tasks::port::{Clock, ExecutionStatus, PortError};

/// What a driver needs of an execution.
pub(crate) struct Saved {
    pub definition: String,
    pub input: Value,
    pub started: Timestamp,
    /// `None` before its first transition.
    pub state: Option<String>,
    pub status: ExecutionStatus,
    /// Number of history events that are kept.
    pub events: u64,
}

/// What a driver keeps at a transition.
pub(crate) struct Transition<'a> {
    pub state: &'a str,
    pub status: ExecutionStatus,
    pub output: Option<String>,
    pub error: Option<&'a str>,
    pub cause: Option<&'a str>,
    /// Events since the last transition, and the number of the first of them.
    pub events: &'a [HistoryEvent],
    pub first_event: u64,
}

impl Local {
    pub(crate) fn saved_execution(&self, name: &str) -> Result<Option<Saved>, PortError> {
        self.database()
            .prepare_cached(
                "SELECT d.definition, e.input, e.started, e.state, e.status,
                        (SELECT ifnull(max(number) + 1, 0) FROM history WHERE execution = e.name)
                 FROM executions e JOIN definitions d ON d.sha256 = e.definition WHERE e.name = ?1",
            )
            .and_then(|mut statement| {
                statement
                    .query_row([name], |row| {
                        Ok(Saved {
                            definition: row.get(0)?,
                            input: json(&row.get::<_, String>(1)?),
                            started: Timestamp(row.get(2)?),
                            state: row.get(3)?,
                            status: status(&row.get::<_, String>(4)?),
                            events: row.get::<_, i64>(5)?.unsigned_abs(),
                        })
                    })
                    .optional()
            })
            .map_err(port_error)
    }

    pub(crate) fn save_execution(
        &self,
        name: &str,
        transition: &Transition<'_>,
    ) -> Result<(), PortError> {
        let ended = (transition.status != ExecutionStatus::Running).then(|| self.now().0);
        let mut database = self.database();
        let transaction = database
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(port_error)?;
        transaction
            .prepare_cached(
                "UPDATE executions SET state = ?2, status = ?3, output = ?4, error = ?5, cause = ?6, ended = ?7 WHERE name = ?1",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    name,
                    transition.state,
                    status_text(transition.status),
                    transition.output,
                    transition.error,
                    transition.cause,
                    ended
                ])
            })
            .map_err(port_error)?;
        for (number, event) in (transition.first_event..).zip(transition.events) {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO history (execution, number, at, type, state, error, cause) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
                .and_then(|mut statement| {
                    statement.execute(params![name, number as i64, event.at.0, event.kind, event.state, event.error, event.cause])
                })
                .map_err(port_error)?;
        }
        transaction.commit().map_err(port_error)
    }
}

fn status_text(status: ExecutionStatus) -> &'static str {
    match status {
        ExecutionStatus::Running => "RUNNING",
        ExecutionStatus::Succeeded => "SUCCEEDED",
        ExecutionStatus::Failed => "FAILED",
        ExecutionStatus::TimedOut => "TIMED_OUT",
        ExecutionStatus::Aborted => "ABORTED",
    }
}
