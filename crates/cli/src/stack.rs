//! What commands do for a stack on AWS in another way than on this machine.

use crate::context::Trouble;
use crate::place::Repaired;
use crate::print::say;
use crate::step_logs::{Log, step_of};
use aws::Aws;
use aws::stack::{Stack, StackError};
use flate2::read::MultiGzDecoder;
use local::executions::HistoryEvent;
use pipeline::report::StepOutcome;
use pipeline::run::{Run, RunStatus};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;
use tasks::control::{self, Link};
use tasks::port::{Clusters, ExecutionStatus, Executions, Ledger, Objects, StepState, StepSummary};
use tasks::{Settings, record, sweep};

/// Between two looks at a run that goes on: each costs a few requests.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(4);
/// Seconds between looks of whoever waits for a cluster to end, as the stack's own tasks have it.
const POLL_SECONDS: i64 = 30;
/// What EMR keeps of a step.
const STREAMS: [&str; 2] = ["stdout", "stderr"];
/// The lines of a step's result.
const ROOT_CAUSE: &str = "root cause";

/// The stack, with a word about what is done to it at this moment.
pub async fn open(name: &str) -> Result<Stack, Trouble> {
    let stack = Stack::find(name).await?;
    if let Some(status) = &stack.under_way {
        say(&format!("warning: stack `{name}` is {status}"));
    }
    Ok(stack)
}

impl From<StackError> for Trouble {
    fn from(error: StackError) -> Self {
        let trouble = match error {
            StackError::NoRegion | StackError::Absent { .. } | StackError::Foreign { .. } => {
                Self::usage(error.to_string())
            }
            StackError::NoCredentials(_)
            | StackError::Unusable { .. }
            | StackError::Malformed { .. }
            | StackError::Port(_) => Self::failed(error.to_string()),
        };
        match error.hint() {
            Some(hint) => trouble.hint(hint),
            None => trouble,
        }
    }
}

/// These items in the place of all items of an identifier.
pub async fn replace_items(aws: &Aws, identifier: &str, items: &[Value]) -> Result<(), Trouble> {
    aws.replace_config(identifier, items).await.map_err(|error| {
        Trouble::failed(format!("the import of `{identifier}` was interrupted: {error}")).hint(
            "the same import again completes it; until then a run of it is refused, with `ConfigMoving`",
        )
    })
}

/// Identifiers that have items, or that had a run admitted: the ledger has no list of all.
pub async fn identifiers(aws: &Aws) -> Result<Vec<String>, Trouble> {
    let mut identifiers: BTreeSet<String> = aws
        .config_items()
        .await?
        .iter()
        .filter_map(|item| item["identifier"].as_str().map(str::to_owned))
        .collect();
    for admission in aws.list(record::ADMISSION, "").await? {
        identifiers.insert(admission.key.sort);
    }
    Ok(identifiers.into_iter().collect())
}

pub async fn history_of(aws: &Aws, execution: &str) -> Result<Vec<HistoryEvent>, Trouble> {
    let history = aws.history_of(execution).await?;
    Ok(history
        .into_iter()
        .map(|event| HistoryEvent {
            at: event.at,
            kind: event.kind,
            state: event.state,
            error: event.error,
            cause: event.cause,
        })
        .collect())
}

/// Waits until no run of a chain is under way.
pub async fn see_to_end(aws: &Aws, execution: &str) -> Result<(), Trouble> {
    while is_under_way(aws, execution).await? {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

async fn is_under_way(aws: &Aws, execution: &str) -> Result<bool, Trouble> {
    // Reads of executions are eventually consistent: it is the run that says whether it is over, once there is one.
    match control::chain(aws, execution).await?.last() {
        Some(Link { run: Some(run), .. }) => Ok(run.status != RunStatus::Ended),
        Some(Link { run_id, run: None }) => {
            let execution = aws.describe_execution(run_id).await?;
            Ok(execution.is_none_or(|execution| execution.status == ExecutionStatus::Running))
        }
        None => Ok(false),
    }
}

/// What the stack's own sweep does, done here.
pub async fn repair(aws: &Aws) -> Result<Repaired, Trouble> {
    let settings = Settings {
        stack: aws.resources().stack.clone(),
        poll_seconds: POLL_SECONDS,
    };
    Ok(Repaired {
        swept: sweep::run(aws, &settings).await?,
        resumed: Vec::new(),
    })
}

/// What failed steps recorded, and where EMR puts what steps write: `<log URI>/<cluster>/steps/<step>/stderr.gz`.
pub async fn logs_of(aws: &Aws, run: &Run) -> Result<Vec<Log>, Trouble> {
    let mut logs = root_causes(aws, run).await?;
    let base = aws.resources().cluster["log_uri"]
        .as_str()
        .unwrap_or_default();
    for cluster in run
        .clusters
        .iter()
        .filter_map(|cluster| cluster.id.as_ref())
    {
        for step in steps_of(aws, cluster).await {
            let Some((source, attempt)) = step_of(&step.name) else {
                continue;
            };
            logs.extend(STREAMS.map(|stream| Log {
                source: source.clone(),
                attempt: Some(attempt),
                state: Some(state(&step.state).to_owned()),
                stream,
                place: format!(
                    "{}/{cluster}/steps/{}/{stream}.gz",
                    base.trim_end_matches('/'),
                    step.id
                ),
                text: None,
            }));
        }
    }
    Ok(logs)
}

/// EMR's name of a step's state.
fn state(state: &StepState) -> &str {
    match state {
        StepState::Pending => "PENDING",
        StepState::CancelPending => "CANCEL_PENDING",
        StepState::Running => "RUNNING",
        StepState::Completed => "COMPLETED",
        StepState::Cancelled => "CANCELLED",
        StepState::Failed => "FAILED",
        StepState::Interrupted => "INTERRUPTED",
        StepState::Unrecognised(name) => name,
    }
}

/// In the order in which they were added. EMR forgets clusters after two months: what the ledger knows is shown all the same.
async fn steps_of(aws: &Aws, cluster: &str) -> Vec<StepSummary> {
    match aws.list_steps(cluster, &[]).await {
        Ok(steps) => steps.into_iter().rev().collect(),
        Err(error) => {
            say(&format!(
                "warning: the steps of cluster `{cluster}`: {error}"
            ));
            Vec::new()
        }
    }
}

async fn root_causes(aws: &Aws, run: &Run) -> Result<Vec<Log>, Trouble> {
    let results = record::results(aws, &run.run_id).await?;
    Ok(results
        .into_iter()
        .filter_map(|result| {
            let StepOutcome::Failed(failure) = &result.value.outcome else {
                return None;
            };
            let mut lines = vec![format!("{}: {}", failure.error, failure.message)];
            lines.extend(failure.hint.iter().map(|hint| format!("hint: {hint}")));
            lines.extend(failure.root_cause.iter().cloned());
            Some(Log {
                source: result.value.name.clone(),
                attempt: Some(result.value.attempt),
                state: Some(state(&StepState::Failed).to_owned()),
                stream: ROOT_CAUSE,
                place: result.key.to_string(),
                text: Some(lines.join("\n") + "\n"),
            })
        })
        .collect())
}

/// A log from a place on; empty where EMR has put none yet.
pub async fn log_from(aws: &Aws, log: &Log, offset: u64) -> Result<Vec<u8>, Trouble> {
    let bytes = match &log.text {
        Some(text) => text.clone().into_bytes(),
        None => match aws.read(&log.place).await? {
            Some(packed) => unpacked(&log.place, &packed)?,
            None => Vec::new(),
        },
    };
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    Ok(bytes.get(offset..).unwrap_or_default().to_vec())
}

fn unpacked(uri: &str, packed: &[u8]) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    match MultiGzDecoder::new(packed).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Trouble::failed(format!(
            "`{uri}` cannot be unpacked: {error}"
        ))),
    }
}
