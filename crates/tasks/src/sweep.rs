//! `sweep`: repairs whatever ledger, executions and clusters disagree on. Level-triggered: it looks, it does not remember.

use crate::cluster::terminal;
use crate::error::TaskError;
use crate::finish::close_run;
use crate::notify::{NOTICES, send};
use crate::port::{Clock, Clusters, ExecutionStatus, Executions, Ledger, Mailer, Metrics, Objects};
use crate::record::{self, Versioned};
use crate::state::Decision;
use crate::{Settings, next_pipeline, port};
use pipeline::metric::{SweepCounts, of_sweep};
use pipeline::run::{Cause, Run, RunStatus, cluster_run, run_id};
use pipeline::time::Timestamp;
use serde::{Deserialize, Serialize};

/// An execution that cannot be found is dead after so long: reads are eventually consistent.
const NOT_FOUND_MINUTES: i64 = 15;
/// A cluster of an open intent belongs to its run for so long.
const INTENT_MINUTES: i64 = 15;
/// An execution without a RUN is reported after so long.
const UNRECORDED_MINUTES: i64 = 15;
/// What waits in the outbox for so long is sent by the sweep: its execution had its turn.
const OUTBOX_SECONDS: i64 = 60;
/// Clusters are listed this far back: more than the longest run allowed.
const CLUSTER_DAYS: i64 = 30;

/// What one sweep did, each entry a line for a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    /// Runs that a dead execution left behind, and that are now ended or on the way.
    pub finished: Vec<String>,
    /// Clusters without a live owner that were told to terminate.
    pub terminated: Vec<String>,
    /// Outbox entries that were sent.
    pub sent: Vec<String>,
    /// What a person should look at.
    pub reported: Vec<String>,
}

pub async fn run(
    ports: &(impl Ledger + Objects + Clusters + Executions + Mailer + Metrics + Clock),
    settings: &Settings,
) -> Result<Swept, TaskError> {
    let mut swept = Swept::default();
    let mut faults = Vec::new();
    let mut keep = |result: Result<(), TaskError>| faults.extend(result.err());
    // One that cannot be repaired now does not keep the others from it.
    keep(dead_runs(ports, settings.poll_seconds, &mut swept).await);
    keep(orphans(ports, &settings.stack, &mut swept).await);
    keep(outbox(ports, &mut swept).await);
    keep(unrecorded(ports, &mut swept).await);
    let confirmed = ports.confirmed().await;
    keep(
        confirmed
            .as_ref()
            .map_err(|error| error.clone().into())
            .map(|_| ()),
    );
    ports.record(&of_sweep(SweepCounts {
        orphans: swept.terminated.len(),
        confirmed: confirmed.ok(),
        faults: faults.len(),
    }));
    faults.into_iter().next().map_or(Ok(swept), Err)
}

/// Runs that have not ended, though their execution has.
async fn dead_runs(
    ports: &(impl Ledger + Objects + Clusters + Executions + Metrics + Clock),
    poll_seconds: i64,
    swept: &mut Swept,
) -> Result<(), TaskError> {
    let mut fault = None;
    for run in open_runs(ports).await? {
        let closed = match dead(ports, &run.value).await {
            Ok(None) => continue,
            Ok(Some(cause)) => close_run(ports, poll_seconds, &run.value.run_id, Some(cause)).await,
            Err(error) => Err(error),
        };
        match closed {
            Ok(state) if state.decision == Decision::Finished => {
                swept.finished.push(format!(
                    "{}: {}",
                    state.run_id,
                    state.outcome.map_or("", |outcome| outcome.as_str())
                ));
            }
            Ok(state) => swept.finished.push(format!(
                "{}: waits for its cluster to terminate",
                state.run_id
            )),
            Err(error) => {
                fault.get_or_insert(error);
            }
        }
    }
    fault.map_or(Ok(()), Err)
}

async fn open_runs(ledger: &impl Ledger) -> Result<Vec<Versioned<Run>>, TaskError> {
    let mut runs = Vec::new();
    for open in record::list::<String>(ledger, record::OPEN, "").await? {
        if let Some(run) = record::get::<Run>(ledger, &record::run(&open.value)).await? {
            runs.push(run);
        }
    }
    Ok(runs)
}

/// Why nobody takes this run further; `None` when somebody does.
async fn dead(ports: &(impl Executions + Clock), run: &Run) -> Result<Option<Cause>, TaskError> {
    let name = &run.owner_execution;
    let cause = |status: &str| {
        Cause::new(
            "ExecutionEnded",
            format!("execution `{name}` {status} before its run"),
        )
    };
    Ok(
        match ports
            .describe_execution(name)
            .await?
            .map(|execution| execution.status)
        {
            Some(ExecutionStatus::Running) => None,
            Some(ExecutionStatus::Succeeded) => Some(cause("ended")),
            Some(ExecutionStatus::Failed) => Some(cause("failed")),
            Some(ExecutionStatus::TimedOut) => Some(cause("timed out")),
            Some(ExecutionStatus::Aborted) => Some(cause("was aborted")),
            None if older(ports.now(), run.received, NOT_FOUND_MINUTES) => Some(cause("was gone")),
            None => None,
        },
    )
}

fn older(now: Timestamp, then: Timestamp, minutes: i64) -> bool {
    now.seconds_since(then) > minutes * 60
}

/// Active clusters of ours that no live run owns.
async fn orphans(
    ports: &(impl Ledger + Clusters + Clock),
    stack: &str,
    swept: &mut Swept,
) -> Result<(), TaskError> {
    let now = ports.now();
    let active = ports
        .list_clusters(now.plus_seconds(-CLUSTER_DAYS * 86_400))
        .await?;
    for cluster in active
        .into_iter()
        .filter(|cluster| !terminal(&cluster.state))
    {
        let Some((run_id, _)) = cluster_run(stack, &cluster.name) else {
            continue;
        };
        let run: Option<Versioned<Run>> = record::get(ports, &record::run(run_id)).await?;
        if !run.is_some_and(|run| owns(&run.value, &cluster, now)) {
            ports.terminate_cluster(&cluster.id).await?;
            swept
                .terminated
                .push(format!("{} ({})", cluster.id, cluster.name));
        }
    }
    Ok(())
}

/// A run owns the cluster it is bound to, and for a while the one that an open intent of it may have made.
fn owns(run: &Run, cluster: &port::ClusterSummary, now: Timestamp) -> bool {
    let live = match run.status {
        RunStatus::Received | RunStatus::Queued | RunStatus::Admitted | RunStatus::Closing => true,
        RunStatus::Ended => false,
    };
    let record = run
        .clusters
        .iter()
        .find(|record| record.name == cluster.name && record.closed.is_none());
    live && record.is_some_and(|record| match &record.id {
        Some(id) => *id == cluster.id,
        None => !older(now, record.intended, INTENT_MINUTES),
    })
}

/// Notices and chained runs that were queued, and whose execution did not send them.
async fn outbox(
    ports: &(impl Ledger + Executions + Mailer + Clock),
    swept: &mut Swept,
) -> Result<(), TaskError> {
    let mut fault = None;
    for entry in ports.list(record::OUTBOX, "").await? {
        let Some((run_id, what)) = entry.key.sort.rsplit_once('#') else {
            continue;
        };
        match send_entry(ports, run_id, what).await {
            Ok(true) => swept.sent.push(entry.key.sort.clone()),
            Ok(false) => {}
            Err(error) => {
                fault.get_or_insert(error);
            }
        }
    }
    fault.map_or(Ok(()), Err)
}

async fn send_entry(
    ports: &(impl Ledger + Executions + Mailer + Clock),
    run_id: &str,
    what: &str,
) -> Result<bool, TaskError> {
    let run = record::get_run(ports, run_id).await?.value;
    let since = run.ended.or(run.closing).unwrap_or(run.received);
    let waited = ports.now().seconds_since(since) > OUTBOX_SECONDS;
    if !waited && dead(ports, &run).await?.is_none() {
        return Ok(false);
    }
    if NOTICES.contains(&what) {
        send(ports, run_id, what).await
    } else {
        Ok(next_pipeline::start(ports, run_id).await?.is_some())
    }
}

/// Executions of ours that never wrote a RUN.
async fn unrecorded(
    ports: &(impl Ledger + Executions + Clock),
    swept: &mut Swept,
) -> Result<(), TaskError> {
    for execution in ports.list_running_executions().await? {
        let text = |name: &str| {
            execution
                .input
                .get(name)
                .and_then(|value| value.as_str())
                .unwrap_or_default()
        };
        let trigger = execution
            .input
            .pointer("/trigger/id")
            .and_then(|id| id.as_str())
            .unwrap_or_default();
        let run_id = run_id(text("identifier"), text("pipeline"), trigger);
        if older(ports.now(), execution.started, UNRECORDED_MINUTES)
            && ports.get(&record::run(&run_id)).await?.is_none()
        {
            swept
                .reported
                .push(format!("execution `{}` has no run", execution.name));
        }
    }
    Ok(())
}
