//! `logs`: what the steps of a run wrote.

use crate::context::{Context, Trouble, block_on};
use crate::place::Place;
use crate::print::{self, Reader};
use crate::step_logs::Log;
use crate::view::{find_run, recorded_run};
use pipeline::run::{Run, RunStatus};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// The state of a step that failed.
const FAILED: &str = "FAILED";

/// What the steps of a run wrote
///
/// stdout and stderr of each step under a header, those of failed steps last, so that they stand right above the prompt.
/// What the supervisors of its clusters wrote comes first.
///
/// Of a stack: the root causes that failed steps recorded, and what EMR has put into the bucket of logs so far, a few
/// minutes late. Without --table only steps that failed.
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

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    if arguments.follow && context.json {
        return Err(Trouble::usage("`--follow` writes text, not JSON"));
    }
    block_on(async {
        let place = context.open().await?;
        place.repair_first().await;
        let run = find_run(&place, &arguments.run).await?;
        let table = arguments.table.as_deref();
        match (arguments.follow, context.json) {
            (true, _) => follow(&place, run, table).await?,
            (false, true) => {
                let mut logs = Vec::new();
                for log in started(&place, &run, table).await? {
                    logs.push(as_json(&log, &place.log_from(&log, 0).await?));
                }
                print::json(&Value::Array(logs))?;
            }
            (false, false) => all(&place, started(&place, &run, table).await?).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The logs of a run, those of failed steps last; of one table when it is named.
async fn logs_of(place: &Place, run: &Run, table: Option<&str>) -> Result<Vec<Log>, Trouble> {
    let mut logs = place.logs_of(run).await?;
    match table {
        Some(name) => logs.retain(|log| log.source == name),
        None if place.runs_here() => {}
        // Each log is a request: those of thousands of steps that went well are not worth it.
        None => logs.retain(|log| log.state.as_deref() == Some(FAILED)),
    }
    logs.sort_by_key(|log| (log.attempt.is_some(), log.state.as_deref() == Some(FAILED)));
    Ok(logs)
}

/// Fails when a table is named that was not started.
async fn started(place: &Place, run: &Run, table: Option<&str>) -> Result<Vec<Log>, Trouble> {
    let logs = logs_of(place, run, table).await?;
    match table {
        Some(name) if logs.is_empty() => Err(Trouble::usage(format!(
            "run `{}` has started no step `{name}`",
            run.run_id
        ))
        .hint(format!("{} show {}", place.headwater(), run.run_id))),
        _ => Ok(logs),
    }
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
        "path": log.place,
        "text": String::from_utf8_lossy(bytes),
    })
}

async fn all(place: &Place, logs: Vec<Log>) -> Result<(), Trouble> {
    let mut written = false;
    for log in logs {
        let bytes = place.log_from(&log, 0).await?;
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
async fn follow(place: &Place, mut run: Run, table: Option<&str>) -> Result<(), Trouble> {
    let mut read: BTreeMap<String, u64> = BTreeMap::new();
    let mut last: Option<String> = None;
    loop {
        let ended = run.status == RunStatus::Ended;
        for log in logs_of(place, &run, table).await? {
            let from = read.entry(log.place.clone()).or_default();
            let bytes = place.log_from(&log, *from).await?;
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
            let mut text = match last.as_ref() == Some(&log.place) {
                true => String::new(),
                false => header(&log),
            };
            text.push_str(&whole_lines(&bytes[..whole]));
            last = Some(log.place);
            if print::data(&text)? == Reader::Gone {
                return Ok(());
            }
        }
        if ended {
            return Ok(());
        }
        tokio::time::sleep(place.look_interval()).await;
        if let Some(now) = recorded_run(place, &run.run_id).await? {
            run = now;
        }
    }
}
