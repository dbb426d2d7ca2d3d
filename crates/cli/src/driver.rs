//! Who takes executions further: the tasks behind the state machine, and what a sweep starts anew.

use crate::context::Trouble;
use crate::place::Repaired;
use crate::print::say;
use local::Local;
use local::executions::DRIVER_GRACE_SECONDS;
use local::process::Internal;
use local::runner::{Host, drive_chain};
use pipeline::run::{Run, RunStatus};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tasks::cluster::terminal;
use tasks::error::TaskError;
use tasks::port::{Clusters, Executions, PortError};
use tasks::record::{self, Versioned};
use tasks::{Settings, dispatch, sweep};

/// Between the first looks at a queue, a cluster and its steps: on one machine a look costs nothing.
const POLL_SECONDS: i64 = 1;
/// The task that is repeated while a run waits for others to end.
const ADMIT: &str = "admit";
/// Between two looks at whether an execution that was started just now is driven.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Between two looks of whoever follows a run.
pub const FOLLOW_INTERVAL: Duration = Duration::from_millis(400);
/// How the outbox entry of a chained run ends.
const CHAIN_ENTRY: &str = "#chain";

struct Tasks<'a> {
    local: &'a Local,
    settings: Settings,
    /// For which news a wait of an execution was cut last: the next task acts on it, so once is enough.
    cut: Mutex<BTreeMap<String, News>>,
}

/// What makes a wait needless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Cancelled,
    /// So many steps were submitted to the present cluster, and all have ended.
    StepsEnded(usize),
    /// So many clusters were had, and all have ended.
    ClustersEnded(usize),
}

impl<'a> Tasks<'a> {
    fn of(local: &'a Local) -> Self {
        Self {
            local,
            settings: settings(local),
            cut: Mutex::default(),
        }
    }
}

fn settings(local: &Local) -> Settings {
    Settings {
        stack: local.deployment().name,
        poll_seconds: POLL_SECONDS,
    }
}

impl Host for Tasks<'_> {
    async fn run_task(&self, task: &str, input: Value) -> Result<Value, TaskError> {
        if task == ADMIT {
            drive_lost(self.local)?;
        }
        dispatch(self.local, &self.settings, task, input).await
    }

    async fn cuts_waits(&self, execution: &str) -> bool {
        // Without an answer the wait just goes on.
        let Ok(Some(news)) = news(self.local, execution).await else {
            return false;
        };
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        cut.insert(execution.to_owned(), news) != Some(news)
    }
}

async fn news(local: &Local, execution: &str) -> Result<Option<News>, TaskError> {
    let run: Option<Versioned<Run>> = record::get(local, &record::run(execution)).await?;
    let Some(Versioned { value: run, .. }) = run else {
        return Ok(None);
    };
    match run.status {
        RunStatus::Received | RunStatus::Queued | RunStatus::Admitted if run.cancel.is_some() => {
            Ok(Some(News::Cancelled))
        }
        RunStatus::Received | RunStatus::Queued | RunStatus::Ended => Ok(None),
        RunStatus::Admitted => Ok(steps_ended(local, &run)?),
        RunStatus::Closing => clusters_ended(local, &run).await,
    }
}

fn steps_ended(local: &Local, run: &Run) -> Result<Option<News>, PortError> {
    let Some(cluster) = run.cluster().and_then(|cluster| cluster.id.as_ref()) else {
        return Ok(None);
    };
    let steps = local.cluster_steps(cluster)?;
    let all_ended = !steps.is_empty() && steps.iter().all(|step| step.ended.is_some());
    Ok(all_ended.then_some(News::StepsEnded(steps.len())))
}

async fn clusters_ended(local: &Local, run: &Run) -> Result<Option<News>, TaskError> {
    for id in run
        .clusters
        .iter()
        .filter_map(|cluster| cluster.id.as_ref())
    {
        if let Some(cluster) = local.describe_cluster(id).await?
            && !terminal(&cluster.state)
        {
            return Ok(None);
        }
    }
    Ok(Some(News::ClustersEnded(run.clusters.len())))
}

/// Drives an execution and those that follow it in this process, or sees another process do so.
pub async fn drive(local: &Local, execution: &str) -> Result<(), Trouble> {
    let driven = drive_chain(local, execution, &Tasks::of(local)).await;
    driven.map_err(|error| {
        Trouble::failed(error.to_string())
            .hint("any next command goes on where this one stopped; or `headwater sweep`")
    })
}

/// Has an execution and those that follow it driven by a process of its own.
pub fn drive_apart(local: &Local, execution: &str) -> Result<(), Trouble> {
    local
        .program()
        .start(local.home(), Internal::Drive(execution))
        .map_err(|error| Trouble::failed(format!("no driver can be started: {error}")))
}

/// A run that waits sees to it that those before it go on: their drivers may have been killed.
fn drive_lost(local: &Local) -> Result<(), TaskError> {
    for execution in local.executions_without_driver()? {
        // One that cannot be started now may be at the next look.
        if let Err(trouble) = drive_apart(local, &execution) {
            say(&format!("warning: {}", trouble.message));
        }
    }
    Ok(())
}

/// Executions that nobody drives. One that was started just now is given the time in which its starter begins to.
async fn without_driver(local: &Local) -> Result<Vec<String>, Trouble> {
    let patience = Instant::now() + Duration::from_secs(DRIVER_GRACE_SECONDS.unsigned_abs());
    while Instant::now() < patience && !local.executions_just_started()?.is_empty() {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(local.executions_without_driver()?)
}

/// Makes ledger, executions and clusters agree, and has executions without a driver driven.
pub async fn repair(local: &Local) -> Result<Repaired, Trouble> {
    let mut resumed = without_driver(local).await?;
    let before = running(local).await?;
    let swept = sweep::run(local, &settings(local)).await?;
    if swept.sent.iter().any(|entry| entry.ends_with(CHAIN_ENTRY)) {
        let started = running(local).await?;
        resumed.extend(started.difference(&before).cloned());
    }
    for execution in &resumed {
        drive_apart(local, execution)?;
    }
    Ok(Repaired { swept, resumed })
}

async fn running(local: &Local) -> Result<BTreeSet<String>, Trouble> {
    let running = local.list_running_executions().await?;
    Ok(running
        .into_iter()
        .map(|execution| execution.name)
        .collect())
}

/// What every command about runs does first. A fault in it does not keep the command from its own work.
pub async fn repair_first(local: &Local) {
    match repair(local).await {
        Ok(repaired) => repaired
            .lines()
            .iter()
            .for_each(|line| say(&format!("sweep: {line}"))),
        Err(trouble) => say(&format!("warning: sweep: {}", trouble.message)),
    }
}
