//! `show`: one run: its states, tables, rows, times, root causes.

use crate::context::{Context, Trouble, block_on};
use crate::place::Place;
use crate::print::{self, columns, duration, rate};
use crate::view::{Papers, Table, TableState, View, find_run, time, view, word};
use local::executions::HistoryEvent;
use pipeline::plan::{Frozen, StepWork};
use pipeline::position::Position;
use pipeline::time::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;
use tasks::position;

/// One run: its states, tables, rows, rates, root causes
#[derive(clap::Args)]
pub struct Arguments {
    /// A run id, the beginning of one or of its last part, or `last`
    run: String,
}

/// A run, and what else is known around it.
struct Shown {
    view: View,
    frozen: Option<Frozen>,
    /// By name of table.
    positions: BTreeMap<String, Position>,
    history: Vec<HistoryEvent>,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    block_on(async {
        let place = context.open().await?;
        place.repair_first().await;
        let run = find_run(&place, &arguments.run).await?;
        let mut papers = Papers::default();
        let view = view(&place, run, &mut papers).await?;
        let shown = Shown {
            positions: positions(&place, papers.frozen.as_ref(), &view).await?,
            history: place.history_of(&view.run.owner_execution).await?,
            frozen: papers.frozen,
            view,
        };
        match context.json {
            true => print::json(&as_json(&shown))?,
            false => print::data(&text(&shown))?,
        };
        Ok(ExitCode::SUCCESS)
    })
}

/// Positions, as they are now, of the tables that the run is about.
async fn positions(
    place: &Place,
    frozen: Option<&Frozen>,
    view: &View,
) -> Result<BTreeMap<String, Position>, Trouble> {
    let mut positions = BTreeMap::new();
    for step in frozen.iter().flat_map(|frozen| &frozen.plan.steps) {
        let work = match &step.work {
            StepWork::Seed(work) | StepWork::Merge(work) => Some(work),
            StepWork::SparkSubmit { table, .. } => table.as_ref(),
            StepWork::Program { .. } | StepWork::Load(_) => None,
        };
        let Some(work) = work.filter(|_| view.tables.iter().any(|table| table.name == step.name))
        else {
            continue;
        };
        if let Some(read) = position::read(place, &work.silver).await? {
            positions.insert(step.name.clone(), read.value);
        }
    }
    Ok(positions)
}

fn as_json(shown: &Shown) -> Value {
    let run = &shown.view.run;
    let mut value = shown.view.whole();
    value["execution"] = json!(run.owner_execution);
    value["plan"] = json!(run.plan);
    value["generation"] = json!(shown.frozen.as_ref().map(|frozen| &frozen.plan.generation));
    value["engine"] = json!(shown.frozen.as_ref().map(|frozen| frozen.plan.engine));
    value["clusters"] = run
        .clusters
        .iter()
        .map(|cluster| {
            json!({
                "attempt": cluster.attempt,
                "name": cluster.name,
                "id": cluster.id,
                "intended": time(Some(cluster.intended)),
                "closed": time(cluster.closed),
                "reason": cluster.reason,
            })
        })
        .collect();
    value["history"] = shown
        .history
        .iter()
        .map(|event| {
            let mut event_value = json!(event);
            event_value["at"] = time(Some(event.at));
            event_value
        })
        .collect();
    if let Some(tables) = value["tables"].as_array_mut() {
        for table in tables {
            let position = shown.positions.get(&word(&table["name"]));
            table["position"] = position.map_or(Value::Null, position_json);
        }
    }
    value
}

fn position_json(position: &Position) -> Value {
    json!({
        "epoch": position.epoch,
        "generation": position.seed.as_ref().map(|seed| &seed.run_id),
        "load": position.seed.as_ref().map(|seed| &seed.load_run_id),
        "t0": position.seed.as_ref().map(|seed| &seed.t0),
        "file": position.applied.as_ref().map(|applied| &applied.file),
        "trx_seq": position.applied.as_ref().map(|applied| &applied.trx_seq),
        "complete_through": time(position.complete_through),
        "pending": position.pending.as_ref().map(|pending| pending.operation),
    })
}

fn text(shown: &Shown) -> String {
    let mut text = head(shown);
    // Writing to a String cannot fail.
    let view = &shown.view;
    let _ = write!(text, "\n{}", states(&shown.history, view));

    if !view.tables.is_empty() {
        let rows: Vec<Vec<String>> = view
            .tables
            .iter()
            .map(|table| row(table, shown.positions.get(&table.name), view))
            .collect();
        let _ = write!(text, "\n{}", columns(&TITLES, &rows));
    }
    for table in &view.tables {
        let _ = write!(text, "{}", remarks(table));
    }
    if !view.disabled.is_empty() {
        let _ = writeln!(text, "\ndisabled: {}", view.disabled.join(", "));
    }
    text
}

fn head(shown: &Shown) -> String {
    let run = &shown.view.run;
    let trigger = &run.input.trigger;
    let mut lines = vec![
        ("run", run.run_id.clone()),
        ("identifier", run.input.identifier.clone()),
        ("pipeline", run.input.pipeline.clone()),
        (
            "trigger",
            format!("{} ({})", word(&json!(trigger.kind)), trigger.id),
        ),
        ("outcome", shown.view.state()),
        ("received", run.received.to_string()),
        ("duration", duration(shown.view.milliseconds())),
    ];
    if run.root_run_id() != run.run_id {
        lines.push(("chain of", run.root_run_id().to_owned()));
    }
    if let Some(resumes) = &run.input.resumes {
        lines.push(("resumes", resumes.clone()));
    }
    if let Some(only) = &run.input.only {
        lines.push(("only", only.join(", ")));
    }
    if let Some(cause) = &run.cause {
        lines.push(("cause", format!("{}: {}", cause.error, cause.message)));
        lines.extend(cause.hint.clone().map(|hint| ("hint", hint)));
    }
    if let Some(skip) = &run.skip {
        lines.push(("skipped", skip.clone()));
    }
    if let (Some(file), Some(frozen)) = (&run.plan, &shown.frozen) {
        lines.push(("engine", word(&json!(frozen.plan.engine))));
        lines.push(("plan", file.uri.clone()));
        lines.push(("generation", frozen.plan.generation.clone()));
    }
    for cluster in &run.clusters {
        let id = cluster.id.as_deref().unwrap_or("none");
        let reason = cluster.reason.as_deref().unwrap_or("");
        lines.push(("cluster", format!("{id} {reason}").trim_end().to_owned()));
    }
    lines
        .iter()
        .map(|(name, value)| {
            format!(
                "{:12}{}\n",
                format!("{name}:"),
                value.replace('\n', "\n            ")
            )
        })
        .collect()
}

/// How a state's entering is called in a history.
const ENTERED: &str = "StateEntered";
/// States that take time.
const TAKING: [&str; 2] = ["Task", "Wait"];

/// Tasks and waits in order, each with what it took in all; and what went wrong on the way.
fn states(history: &[HistoryEvent], view: &View) -> String {
    let end = view.run.ended.unwrap_or(view.now);
    let entered: Vec<(&str, &str, i64)> = history
        .iter()
        .filter_map(|event| {
            let kind = event.kind.strip_suffix(ENTERED)?;
            Some((kind, event.state.as_deref()?, event.at.0))
        })
        .collect();
    let mut stays: Vec<(&str, i64, i64, u32)> = Vec::new();
    for (number, (kind, state, at)) in entered.iter().enumerate() {
        if !TAKING.contains(kind) {
            continue;
        }
        let left = entered.get(number + 1).map_or(end.0, |(_, _, at)| *at);
        let took = (left - at).max(0);
        match stays.iter_mut().find(|(name, ..)| name == state) {
            Some((_, _, total, times)) => {
                *total += took;
                *times += 1;
            }
            None => stays.push((state, *at, took, 1)),
        }
    }
    let rows: Vec<Vec<String>> = stays
        .iter()
        .map(|(state, at, took, times)| {
            vec![
                (*state).to_owned(),
                Timestamp(*at).to_string(),
                duration(*took),
                times.to_string(),
            ]
        })
        .collect();
    // An execution fails with the name of its run's outcome, which is told already.
    let outcome = view.state();
    let faults: String = history
        .iter()
        .filter(|event| event.error.as_ref() != Some(&outcome))
        .filter_map(fault)
        .collect();
    columns(&["state", "first entered", "took", "times"], &rows) + &faults
}

fn fault(event: &HistoryEvent) -> Option<String> {
    let (error, cause) = (event.error.as_ref()?, event.cause.as_deref());
    let cause = cause.map_or(String::new(), |cause| format!(": {cause}"));
    Some(format!("{} {}: {error}{cause}\n", event.at, event.kind))
}

const TITLES: [&str; 10] = [
    "table",
    "state",
    "rows",
    "duration",
    "rows/s",
    "inserted",
    "updated",
    "deleted",
    "complete through",
    "position",
];

fn row(table: &Table, position: Option<&Position>, view: &View) -> Vec<String> {
    let time = table.milliseconds(view.now);
    let number = |count: Option<u64>| count.map_or(String::new(), |count| count.to_string());
    let report = match &table.state {
        TableState::Succeeded(report) => Some(report),
        TableState::Waiting
        | TableState::Running(_)
        | TableState::Failed(_)
        | TableState::NoChanges
        | TableState::NotRun(_) => None,
    };
    let complete = position.and_then(|position| position.complete_through);
    let applied = position.and_then(|position| position.applied.as_ref());
    vec![
        table.name.clone(),
        table.state.name().replace('_', " "),
        number(table.rows()),
        time.map_or(String::new(), duration),
        number(
            table
                .rows()
                .zip(time)
                .and_then(|(rows, time)| rate(rows, time)),
        ),
        number(report.map(|report| report.inserted)),
        number(report.map(|report| report.updated)),
        number(report.map(|report| report.deleted)),
        complete.map_or(String::new(), |moment| moment.to_string()),
        applied.map_or(String::new(), |applied| applied.trx_seq.to_string()),
    ]
}

/// Why a table failed, or what a reader should know of it.
fn remarks(table: &Table) -> String {
    let lines: Vec<String> = match &table.state {
        TableState::Failed(failure) => {
            let mut lines = vec![format!("{}: {}", failure.error, failure.message)];
            lines.extend(failure.hint.iter().map(|hint| format!("hint: {hint}")));
            lines.extend(failure.root_cause.iter().cloned());
            lines
        }
        TableState::NotRun(reason) => vec![format!("not run: {reason}")],
        TableState::Succeeded(report) => report
            .nulled
            .iter()
            .map(|(column, count)| {
                format!("`{column}`: {count} NaN or infinite values became NULL")
            })
            .chain(report.notes.iter().cloned())
            .collect(),
        TableState::Waiting | TableState::Running(_) | TableState::NoChanges => Vec::new(),
    };
    if lines.is_empty() {
        return String::new();
    }
    let lines: String = lines
        .iter()
        .map(|line| format!("  {}\n", line.replace('\n', "\n  ")))
        .collect();
    format!("\n{}:\n{lines}", table.name)
}
