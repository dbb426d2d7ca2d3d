//! `logs`: what the steps of a run wrote.

use crate::context::{Context, Trouble, block_on};
use crate::driver::repair_first;
use crate::print::{self, Reader};
use crate::view::{find_run, recorded_run};
use local::Local;
use local::clusters::StepRecord;
use pipeline::progress::parse_step_name;
use pipeline::run::{Run, RunStatus};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const LOOK_INTERVAL: Duration = Duration::from_millis(250);
const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// What the steps of a run wrote
///
/// stdout and stderr of each step under a header, those of failed steps last, so that they stand right above the prompt.
/// What the supervisors of its clusters wrote comes first.
#[derive(clap::Args)]
pub struct Arguments {
    /// A run id, the beginning of one or of its last part, or `last`
    run: String,
    /// Only this table (SCHEMA.TABLE) or script
    #[arg(long)]
    table: Option<String>,
    /// Goes on until the run has ended
    #[arg(long, short)]
    follow: bool,
}

/// What one step writes to one stream, or what the supervisor of a cluster writes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Log {
    /// The name of the step, or the id of the cluster.
    source: String,
    attempt: Option<u32>,
    state: Option<String>,
    stream: &'static str,
    path: PathBuf,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    if arguments.follow && context.json {
        return Err(Trouble::usage("`--follow` writes text, not JSON"));
    }
    let local = context.open()?;
    block_on(async {
        repair_first(&local).await;
        let run = find_run(&local, &arguments.run).await?;
        let table = arguments.table.as_deref();
        match (arguments.follow, context.json) {
            (true, _) => follow(&local, run, table).await?,
            (false, true) => {
                let mut logs = Vec::new();
                for log in started(&local, &run, table)? {
                    logs.push(as_json(&log, &local.log_from(&log.path, 0)?));
                }
                print::json(&Value::Array(logs))?;
            }
            (false, false) => all(&local, started(&local, &run, table)?)?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// What supervisors wrote, then the logs of a run's steps in order, those of failed steps last; of one table when it is named.
fn logs_of(local: &Local, run: &Run, table: Option<&str>) -> Result<Vec<Log>, Trouble> {
    let mut logs = Vec::new();
    for cluster in run
        .clusters
        .iter()
        .filter_map(|cluster| cluster.id.as_ref())
    {
        logs.push(Log {
            source: cluster.clone(),
            attempt: None,
            state: None,
            stream: "supervisor",
            path: local.home().cluster_logs(cluster).join("supervisor.log"),
        });
        for step in local.cluster_steps(cluster)? {
            let folder = local.home().step_logs(cluster, &step.id);
            logs.extend(
                STREAMS
                    .into_iter()
                    .filter_map(|stream| log(&step, stream, folder.join(stream))),
            );
        }
    }
    if let Some(name) = table {
        logs.retain(|log| log.source == name);
    }
    logs.sort_by_key(|log| {
        (
            log.attempt.is_some(),
            log.state.as_deref() == Some("FAILED"),
        )
    });
    Ok(logs)
}

/// Fails when a table is named that was not started.
fn started(local: &Local, run: &Run, table: Option<&str>) -> Result<Vec<Log>, Trouble> {
    let logs = logs_of(local, run, table)?;
    match table {
        Some(name) if logs.is_empty() => Err(Trouble::usage(format!(
            "run `{}` has started no step `{name}`",
            run.run_id
        ))
        .hint(format!("headwater show {}", run.run_id))),
        _ => Ok(logs),
    }
}

fn log(step: &StepRecord, stream: &'static str, path: PathBuf) -> Option<Log> {
    let (_, attempt) = parse_step_name(&step.name)?;
    Some(Log {
        source: step.name.splitn(3, '-').nth(2)?.to_owned(),
        attempt: Some(attempt),
        state: Some(step.state.clone()),
        stream,
        path,
    })
}

fn header(log: &Log) -> String {
    let mut title = log.source.clone();
    if let (Some(attempt), Some(state)) = (log.attempt, &log.state) {
        title = format!("{title}, attempt {attempt}, {state}");
    }
    format!("==> {title}: {} <==\n", log.stream)
}

fn as_json(log: &Log, bytes: &[u8]) -> Value {
    json!({
        "source": log.source,
        "attempt": log.attempt,
        "state": log.state,
        "stream": log.stream,
        "path": log.path,
        "text": String::from_utf8_lossy(bytes),
    })
}

fn all(local: &Local, logs: Vec<Log>) -> Result<(), Trouble> {
    let mut written = false;
    for log in logs {
        let bytes = local.log_from(&log.path, 0)?;
        if bytes.is_empty() {
            continue;
        }
        let gap = if written { "\n" } else { "" };
        written = true;
        let text = format!("{gap}{}{}", header(&log), whole_lines(&bytes));
        if print::data(&text)? == Reader::Gone {
            return Ok(());
        }
    }
    if !written {
        print::say("no step of this run has written anything");
    }
    Ok(())
}

/// The text, ending in a line break.
fn whole_lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}")
}

/// What is new at each look, until the run has ended.
async fn follow(local: &Local, mut run: Run, table: Option<&str>) -> Result<(), Trouble> {
    let mut read: BTreeMap<PathBuf, u64> = BTreeMap::new();
    let mut last: Option<PathBuf> = None;
    loop {
        let ended = run.status == RunStatus::Ended;
        for log in logs_of(local, &run, table)? {
            let from = read.entry(log.path.clone()).or_default();
            let bytes = local.log_from(&log.path, *from)?;
            // A line that is being written is left for the next look.
            let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
                _ if ended => bytes.len(),
                Some(position) => position + 1,
                None => 0,
            };
            if whole == 0 {
                continue;
            }
            *from += whole as u64;
            let mut text = match last.as_ref() == Some(&log.path) {
                true => String::new(),
                false => header(&log),
            };
            text.push_str(&whole_lines(&bytes[..whole]));
            last = Some(log.path);
            if print::data(&text)? == Reader::Gone {
                return Ok(());
            }
        }
        if ended {
            return Ok(());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
        if let Some(now) = recorded_run(local, &run.run_id).await? {
            run = now;
        }
    }
}
