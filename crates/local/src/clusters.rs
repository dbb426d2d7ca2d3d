//! Clusters as EMR shows them: rows that a supervisor process moves on, and requests to it.

use crate::process::{self, Internal};
use crate::{Local, lock, port_error};
use pipeline::plan::ClusterSpec;
use pipeline::time::Timestamp;
use rand::Rng;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use tasks::limits;
use tasks::port::{
    Clock, ClusterDescription, ClusterState, ClusterSummary, Clusters, PortError, StepRequest,
    StepState, StepSummary,
};

/// Steps that are pending, running or being cancelled, at most; EMR's limit.
const STEPS_ACTIVE_MAX: i64 = 256;
/// A cluster's supervisor has its lock so soon after the row exists, or never.
const START_GRACE_SECONDS: i64 = 10;
const TERMINAL: &str = "('TERMINATED', 'TERMINATED_WITH_ERRORS')";
const ID_LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const ID_LENGTH: usize = 13;

impl Clusters for Local {
    async fn create_cluster(
        &self,
        name: &str,
        spec: &ClusterSpec,
        tags: &[(String, String)],
    ) -> Result<String, PortError> {
        let id = new_id("j-");
        self.database()
            .execute(
                "INSERT INTO clusters (id, name, tags, created, state, step_concurrency, idle_timeout_seconds)
                 VALUES (?1, ?2, ?3, ?4, 'STARTING', ?5, ?6)",
                params![
                    id,
                    name,
                    serde_json::json!(tags).to_string(),
                    self.now().0,
                    spec.step_concurrency,
                    spec.idle_timeout_seconds
                ],
            )
            .map_err(port_error)?;
        self.program()
            .start(self.home(), Internal::Cluster(&id))
            .map_err(|error| failed(&id, &error))?;
        Ok(id)
    }

    async fn list_clusters(
        &self,
        created_since: Timestamp,
    ) -> Result<Vec<ClusterSummary>, PortError> {
        self.bury_dead_clusters()?;
        let database = self.database();
        let mut statement = database
            .prepare_cached("SELECT id, name, state, created FROM clusters WHERE created >= ?1 ORDER BY created, id")
            .map_err(port_error)?;
        statement
            .query_map([created_since.0], |row| {
                Ok(ClusterSummary {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    state: cluster_state(row.get(2)?),
                    created: Timestamp(row.get(3)?),
                })
            })
            .and_then(Iterator::collect)
            .map_err(port_error)
    }

    async fn describe_cluster(&self, id: &str) -> Result<Option<ClusterDescription>, PortError> {
        self.bury_if_dead(id)?;
        self.database()
            .prepare_cached(
                "SELECT id, name, state, reason_code, reason FROM clusters WHERE id = ?1",
            )
            .and_then(|mut statement| statement.query_row([id], description).optional())
            .map_err(port_error)
    }

    async fn add_steps(&self, id: &str, steps: &[StepRequest]) -> Result<Vec<String>, PortError> {
        limits::check_steps("cluster", steps)?;
        self.bury_if_dead(id)?;
        let now = self.now();
        let mut database = self.database();
        let transaction = database
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(port_error)?;
        refuse_steps(&transaction, id, steps.len())?;
        let ids = insert_steps(&transaction, id, steps, now).map_err(port_error)?;
        transaction.commit().map_err(port_error)?;
        Ok(ids)
    }

    async fn list_steps(
        &self,
        id: &str,
        states: &[StepState],
    ) -> Result<Vec<StepSummary>, PortError> {
        self.bury_if_dead(id)?;
        self.refuse_unknown(id)?;
        let database = self.database();
        let mut statement = database
            .prepare_cached("SELECT id, name, state, failure FROM steps WHERE cluster = ?1 ORDER BY number DESC")
            .map_err(port_error)?;
        let mut steps: Vec<StepSummary> = statement
            .query_map([id], step_summary)
            .and_then(Iterator::collect)
            .map_err(port_error)?;
        steps.retain(|step| states.is_empty() || states.contains(&step.state));
        Ok(steps)
    }

    async fn cancel_steps(&self, id: &str, step_ids: &[String]) -> Result<(), PortError> {
        self.refuse_unknown(id)?;
        let mut database = self.database();
        let transaction = database
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(port_error)?;
        for step in step_ids {
            transaction
                .execute(
                    "UPDATE steps SET
                        ended = CASE state WHEN 'PENDING' THEN ?3 ELSE ended END,
                        state = CASE state WHEN 'PENDING' THEN 'CANCELLED' ELSE 'CANCEL_PENDING' END
                     WHERE cluster = ?1 AND id = ?2 AND state IN ('PENDING', 'RUNNING')",
                    params![id, step, self.now().0],
                )
                .map_err(port_error)?;
        }
        transaction.commit().map_err(port_error)
    }

    async fn terminate_cluster(&self, id: &str) -> Result<(), PortError> {
        self.bury_if_dead(id)?;
        self.refuse_unknown(id)?;
        self.database()
            .execute(
                &format!(
                    "UPDATE clusters SET terminate = 1, state = 'TERMINATING', reason_code = 'USER_REQUEST', reason = 'terminated by request'
                     WHERE id = ?1 AND terminate = 0 AND state NOT IN {TERMINAL}"
                ),
                [id],
            )
            .map(|_| ())
            .map_err(port_error)
    }
}

/// One step of a cluster, for a reader of logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRecord {
    pub id: String,
    pub name: String,
    pub state: String,
    pub failure: Option<String>,
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
}

impl Local {
    /// The steps of a cluster in the order in which they were added.
    pub fn cluster_steps(&self, cluster: &str) -> Result<Vec<StepRecord>, PortError> {
        let database = self.database();
        let mut statement = database
            .prepare_cached("SELECT id, name, state, failure, started, ended FROM steps WHERE cluster = ?1 ORDER BY number")
            .map_err(port_error)?;
        statement
            .query_map([cluster], |row| {
                Ok(StepRecord {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    state: row.get(2)?,
                    failure: row.get(3)?,
                    started: row.get::<_, Option<i64>>(4)?.map(Timestamp),
                    ended: row.get::<_, Option<i64>>(5)?.map(Timestamp),
                })
            })
            .and_then(Iterator::collect)
            .map_err(port_error)
    }

    fn refuse_unknown(&self, id: &str) -> Result<(), PortError> {
        let known = self
            .database()
            .prepare_cached("SELECT 1 FROM clusters WHERE id = ?1")
            .and_then(|mut statement| statement.exists([id]))
            .map_err(port_error)?;
        match known {
            true => Ok(()),
            false => Err(refused(format!("there is no cluster `{id}`"))),
        }
    }

    fn bury_dead_clusters(&self) -> Result<(), PortError> {
        let ids: Vec<String> = {
            let database = self.database();
            let mut statement = database
                .prepare_cached(&format!(
                    "SELECT id FROM clusters WHERE state NOT IN {TERMINAL}"
                ))
                .map_err(port_error)?;
            statement
                .query_map([], |row| row.get(0))
                .and_then(Iterator::collect)
                .map_err(port_error)?
        };
        ids.iter().try_for_each(|id| self.bury_if_dead(id))
    }

    /// A cluster that is not terminal and whose lock is free has lost its supervisor: its processes are ended and its row says so.
    fn bury_if_dead(&self, id: &str) -> Result<(), PortError> {
        let path = self.home().cluster_lock(id);
        let io = |error| failed(id, &error);
        if !self.needs_supervisor(id)? || lock::held(&path).map_err(io)? {
            return Ok(());
        }
        // Holding the lock: a supervisor that is late finds its cluster buried instead of working beside this.
        let Some(_lock) = lock::try_hold(&path).map_err(io)? else {
            return Ok(());
        };
        // It may have ended properly in between.
        if self.needs_supervisor(id)? {
            process::kill_marked(process::CLUSTER_MARK, id);
            bury(&mut self.database(), id, self.now()).map_err(port_error)?;
        }
        Ok(())
    }

    /// Whether the cluster is not terminal, and old enough to have its supervisor.
    fn needs_supervisor(&self, id: &str) -> Result<bool, PortError> {
        let since: Option<i64> = self
            .database()
            .prepare_cached(&format!(
                "SELECT CASE state WHEN 'STARTING' THEN created ELSE 0 END FROM clusters WHERE id = ?1 AND state NOT IN {TERMINAL}"
            ))
            .and_then(|mut statement| statement.query_row([id], |row| row.get(0)).optional())
            .map_err(port_error)?;
        Ok(since
            .is_some_and(|since| self.now().seconds_since(Timestamp(since)) >= START_GRACE_SECONDS))
    }
}

fn bury(connection: &mut Connection, id: &str, now: Timestamp) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute(
        "UPDATE clusters SET state = 'TERMINATED_WITH_ERRORS', reason_code = 'INTERNAL_ERROR', reason = 'its supervisor died', ended = ?2 WHERE id = ?1",
        params![id, now.0],
    )?;
    transaction.execute(
        "UPDATE steps SET state = 'FAILED', failure = 'the supervisor of its cluster died', ended = ?2
         WHERE cluster = ?1 AND state IN ('RUNNING', 'CANCEL_PENDING')",
        params![id, now.0],
    )?;
    transaction.execute(
        "UPDATE steps SET state = 'CANCELLED', ended = ?2 WHERE cluster = ?1 AND state = 'PENDING'",
        params![id, now.0],
    )?;
    transaction.commit()
}

fn refuse_steps(connection: &Connection, id: &str, more: usize) -> Result<(), PortError> {
    let state: Option<String> = connection
        .query_row("SELECT state FROM clusters WHERE id = ?1", [id], |row| {
            row.get(0)
        })
        .optional()
        .map_err(port_error)?;
    match state.map(cluster_state) {
        None => return Err(refused(format!("there is no cluster `{id}`"))),
        Some(
            ClusterState::Terminating
            | ClusterState::Terminated
            | ClusterState::TerminatedWithErrors
            | ClusterState::Unrecognised(_),
        ) => return Err(refused(format!("cluster `{id}` takes no more steps"))),
        Some(
            ClusterState::Starting
            | ClusterState::Bootstrapping
            | ClusterState::Running
            | ClusterState::Waiting,
        ) => {}
    }
    let active: i64 = connection
        .query_row(
            "SELECT count(*) FROM steps WHERE cluster = ?1 AND state IN ('PENDING', 'RUNNING', 'CANCEL_PENDING')",
            [id],
            |row| row.get(0),
        )
        .map_err(port_error)?;
    if active.saturating_add_unsigned(more as u64) > STEPS_ACTIVE_MAX {
        return Err(refused(format!(
            "cluster `{id}` has {active} active steps, and takes {STEPS_ACTIVE_MAX}"
        )));
    }
    Ok(())
}

fn insert_steps(
    connection: &Connection,
    cluster: &str,
    steps: &[StepRequest],
    now: Timestamp,
) -> rusqlite::Result<Vec<String>> {
    let first: i64 = connection.query_row(
        "SELECT ifnull(max(number), 0) + 1 FROM steps WHERE cluster = ?1",
        [cluster],
        |row| row.get(0),
    )?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO steps (cluster, number, id, name, arguments, state, created) VALUES (?1, ?2, ?3, ?4, ?5, 'PENDING', ?6)",
    )?;
    (first..)
        .zip(steps)
        .map(|(number, step)| {
            let id = new_id("s-");
            let arguments = serde_json::json!(step.arguments).to_string();
            statement.execute(params![cluster, number, id, step.name, arguments, now.0])?;
            Ok(id)
        })
        .collect()
}

fn description(row: &Row<'_>) -> rusqlite::Result<ClusterDescription> {
    Ok(ClusterDescription {
        id: row.get(0)?,
        name: row.get(1)?,
        state: cluster_state(row.get(2)?),
        reason_code: row.get(3)?,
        reason: row.get(4)?,
    })
}

fn step_summary(row: &Row<'_>) -> rusqlite::Result<StepSummary> {
    Ok(StepSummary {
        id: row.get(0)?,
        name: row.get(1)?,
        state: step_state(row.get(2)?),
        failure: row.get(3)?,
    })
}

fn cluster_state(text: String) -> ClusterState {
    match text.as_str() {
        "STARTING" => ClusterState::Starting,
        "BOOTSTRAPPING" => ClusterState::Bootstrapping,
        "RUNNING" => ClusterState::Running,
        "WAITING" => ClusterState::Waiting,
        "TERMINATING" => ClusterState::Terminating,
        "TERMINATED" => ClusterState::Terminated,
        "TERMINATED_WITH_ERRORS" => ClusterState::TerminatedWithErrors,
        _ => ClusterState::Unrecognised(text),
    }
}

fn step_state(text: String) -> StepState {
    match text.as_str() {
        "PENDING" => StepState::Pending,
        "CANCEL_PENDING" => StepState::CancelPending,
        "RUNNING" => StepState::Running,
        "COMPLETED" => StepState::Completed,
        "CANCELLED" => StepState::Cancelled,
        "FAILED" => StepState::Failed,
        "INTERRUPTED" => StepState::Interrupted,
        _ => StepState::Unrecognised(text),
    }
}

/// An id as EMR makes them: `j-2AXXXXXXGAPLF`.
fn new_id(prefix: &str) -> String {
    let mut random = rand::rng();
    let letters =
        (0..ID_LENGTH).map(|_| char::from(ID_LETTERS[random.random_range(0..ID_LETTERS.len())]));
    prefix.chars().chain(letters).collect()
}

fn refused(message: String) -> PortError {
    PortError::Refused {
        service: "cluster",
        message,
    }
}

fn failed(id: &str, error: &std::io::Error) -> PortError {
    PortError::Unknown {
        service: "cluster",
        message: format!("`{id}`: {error}"),
    }
}
