//! Executions of the state machine: rows that a driver moves on. The definition is kept with them: a resumed one goes on with its own.

use crate::{Local, lock, port_error};
use pipeline::run::sha256;
use pipeline::time::Timestamp;
use rusqlite::{OptionalExtension, Row, TransactionBehavior, params};
use serde::Serialize;
use serde_json::Value;
use tasks::limits;
use tasks::port::{Clock, ExecutionDescription, ExecutionStatus, Executions, PortError, Started};

/// Whoever starts an execution begins to drive it so soon, or does not.
pub const DRIVER_GRACE_SECONDS: i64 = 2;

impl Executions for Local {
    async fn start_execution(&self, name: &str, input: &Value) -> Result<Started, PortError> {
        limits::check_start("executions", name, input)?;
        let sha256 = sha256(self.definition.as_bytes());
        let root = input
            .get("root_run_id")
            .and_then(Value::as_str)
            .unwrap_or(name);
        let mut database = self.database();
        let transaction = database
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(port_error)?;
        transaction
            .execute(
                "INSERT OR IGNORE INTO definitions (sha256, definition) VALUES (?1, ?2)",
                params![sha256, self.definition],
            )
            .map_err(port_error)?;
        let inserted = transaction
            .execute(
                "INSERT OR IGNORE INTO executions (name, root, input, definition, status, started) VALUES (?1, ?2, ?3, ?4, 'RUNNING', ?5)",
                params![name, root, input.to_string(), sha256, self.now().0],
            )
            .map_err(port_error)?;
        transaction.commit().map_err(port_error)?;
        Ok(if inserted == 1 {
            Started::Now
        } else {
            Started::Before
        })
    }

    async fn describe_execution(
        &self,
        name: &str,
    ) -> Result<Option<ExecutionDescription>, PortError> {
        self.database()
            .prepare_cached("SELECT name, status, started, input FROM executions WHERE name = ?1")
            .and_then(|mut statement| statement.query_row([name], description).optional())
            .map_err(port_error)
    }

    async fn list_running_executions(&self) -> Result<Vec<ExecutionDescription>, PortError> {
        let database = self.database();
        let mut statement = database
            .prepare_cached("SELECT name, status, started, input FROM executions WHERE status = 'RUNNING' ORDER BY number")
            .map_err(port_error)?;
        statement
            .query_map([], description)
            .and_then(Iterator::collect)
            .map_err(port_error)
    }
}

/// An event of an execution's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryEvent {
    pub at: Timestamp,
    /// Step Functions' name of it: `TaskStateEntered`.
    #[serde(rename = "type")]
    pub kind: String,
    pub state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

impl Local {
    /// Executions that run and that no process drives, oldest first.
    pub fn executions_without_driver(&self) -> Result<Vec<String>, PortError> {
        self.undriven("started <= ?1")
    }

    /// Executions that were started just now and that no process drives yet.
    pub fn executions_just_started(&self) -> Result<Vec<String>, PortError> {
        self.undriven("started > ?1")
    }

    /// Of the running ones those that no process drives, by how `started` compares with the end of the grace.
    fn undriven(&self, age: &str) -> Result<Vec<String>, PortError> {
        let youngest = self.now().plus_seconds(-DRIVER_GRACE_SECONDS);
        let names: Vec<String> = {
            let database = self.database();
            let mut statement = database
                .prepare_cached(&format!(
                    "SELECT name FROM executions WHERE status = 'RUNNING' AND {age} ORDER BY number"
                ))
                .map_err(port_error)?;
            statement
                .query_map([youngest.0], |row| row.get(0))
                .and_then(Iterator::collect)
                .map_err(port_error)?
        };
        let mut undriven = Vec::new();
        for name in names {
            if !self.is_driven(&name)? {
                undriven.push(name);
            }
        }
        Ok(undriven)
    }

    /// Whether a process drives this execution at this moment.
    pub fn is_driven(&self, name: &str) -> Result<bool, PortError> {
        lock::held(&self.home().execution_lock(name)).map_err(|error| PortError::Unknown {
            service: "executions",
            message: format!("`{name}`: {error}"),
        })
    }

    /// An execution and those of its chain that came after it, oldest first.
    pub fn executions_since(&self, name: &str) -> Result<Vec<String>, PortError> {
        self.chain(
            name,
            "'RUNNING', 'SUCCEEDED', 'FAILED', 'TIMED_OUT', 'ABORTED'",
        )
    }

    /// Those of them that run.
    pub fn running_executions_since(&self, name: &str) -> Result<Vec<String>, PortError> {
        self.chain(name, "'RUNNING'")
    }

    fn chain(&self, name: &str, states: &str) -> Result<Vec<String>, PortError> {
        let database = self.database();
        let mut statement = database
            .prepare_cached(&format!(
                "SELECT later.name FROM executions first JOIN executions later
                 ON later.root = first.root AND later.number >= first.number
                 WHERE first.name = ?1 AND later.status IN ({states}) ORDER BY later.number"
            ))
            .map_err(port_error)?;
        statement
            .query_map([name], |row| row.get(0))
            .and_then(Iterator::collect)
            .map_err(port_error)
    }

    /// What happened in an execution, in order.
    pub fn history_of(&self, name: &str) -> Result<Vec<HistoryEvent>, PortError> {
        let database = self.database();
        let mut statement = database
            .prepare_cached(
                "SELECT at, type, state, error, cause FROM history WHERE execution = ?1 ORDER BY number",
            )
            .map_err(port_error)?;
        statement
            .query_map([name], |row| {
                Ok(HistoryEvent {
                    at: Timestamp(row.get(0)?),
                    kind: row.get(1)?,
                    state: row.get(2)?,
                    error: row.get(3)?,
                    cause: row.get(4)?,
                })
            })
            .and_then(Iterator::collect)
            .map_err(port_error)
    }

    /// The error and cause with which an execution failed.
    pub fn fault_of(&self, name: &str) -> Result<Option<(String, String)>, PortError> {
        self.database()
            .prepare_cached("SELECT error, ifnull(cause, '') FROM executions WHERE name = ?1 AND error IS NOT NULL")
            .and_then(|mut statement| {
                statement
                    .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()
            })
            .map_err(port_error)
    }
}

fn description(row: &Row<'_>) -> rusqlite::Result<ExecutionDescription> {
    Ok(ExecutionDescription {
        name: row.get(0)?,
        status: status(&row.get::<_, String>(1)?),
        started: Timestamp(row.get(2)?),
        input: json(&row.get::<_, String>(3)?),
    })
}

/// Inputs are written by `start_execution` only, as JSON.
pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// What cannot be read is not taken for running.
pub(crate) fn status(text: &str) -> ExecutionStatus {
    match text {
        "RUNNING" => ExecutionStatus::Running,
        "SUCCEEDED" => ExecutionStatus::Succeeded,
        "TIMED_OUT" => ExecutionStatus::TimedOut,
        "ABORTED" => ExecutionStatus::Aborted,
        _ => ExecutionStatus::Failed,
    }
}
