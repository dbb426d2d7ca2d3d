//! Who takes executions further: the tasks behind the state machine, and what a sweep starts anew.

use crate::context::{Trouble, deployment};
use crate::print::say;
use local::Local;
use local::process::Internal;
use local::runner::{Host, drive_chain};
use pipeline::run::{Run, RunStatus};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use tasks::error::TaskError;
use tasks::port::Executions;
use tasks::record::{self, Versioned};
use tasks::sweep::Swept;
use tasks::{Settings, dispatch, sweep};

/// Between the first looks at a queue, a cluster and its steps: on one machine a look costs nothing.
const POLL_SECONDS: i64 = 1;
/// How the outbox entry of a chained run ends.
const CHAIN_ENTRY: &str = "#chain";

struct Tasks<'a> {
    local: &'a Local,
    settings: Settings,
    /// Executions of which a wait was cut: once is enough, the next task ends the run.
    cut: Mutex<BTreeSet<String>>,
}

impl<'a> Tasks<'a> {
    fn of(local: &'a Local) -> Self {
        Self {
            local,
            settings: Settings {
                deployment: deployment(local),
                poll_seconds: POLL_SECONDS,
            },
            cut: Mutex::default(),
        }
    }
}

impl Host for Tasks<'_> {
    async fn run_task(&self, task: &str, input: Value) -> Result<Value, TaskError> {
        dispatch(self.local, &self.settings, task, input).await
    }

    async fn cuts_waits(&self, execution: &str) -> bool {
        let run: Result<Option<Versioned<Run>>, TaskError> =
            record::get(self.local, &record::run(execution)).await;
        let cancelled = matches!(run, Ok(Some(run)) if is_being_cancelled(&run.value));
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        cancelled && cut.insert(execution.to_owned())
    }
}

/// Whether a cancel was asked for that no task has seen. While a run closes, its waits are for its cluster.
fn is_being_cancelled(run: &Run) -> bool {
    let open = match run.status {
        RunStatus::Received | RunStatus::Queued | RunStatus::Admitted => true,
        RunStatus::Closing | RunStatus::Ended => false,
    };
    open && run.cancel.is_some()
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

/// What a sweep did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    pub swept: Swept,
    /// Executions that were given a new driver.
    pub resumed: Vec<String>,
}

impl Repaired {
    /// Each deed in a line.
    pub fn lines(&self) -> Vec<String> {
        let told = |what: &str, entries: &[String]| -> Vec<String> {
            entries
                .iter()
                .map(|entry| format!("{what}: {entry}"))
                .collect()
        };
        [
            told("resumed", &self.resumed),
            told("finished", &self.swept.finished),
            told("terminated", &self.swept.terminated),
            told("sent", &self.swept.sent),
            told("look at", &self.swept.reported),
        ]
        .concat()
    }
}

/// Makes ledger, executions and clusters agree, and has executions without a driver driven.
pub async fn repair(local: &Local) -> Result<Repaired, Trouble> {
    let mut resumed = local.executions_without_driver()?;
    let before = running(local).await?;
    let swept = sweep::run(local, POLL_SECONDS).await?;
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
