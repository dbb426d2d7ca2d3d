//! `runs`: the runs and their outcomes.

use crate::context::{Context, Trouble, block_on};
use crate::print::{self, duration, say};
use crate::view::{Papers, View, recorded_run, run_ids, view, word};
use serde_json::json;
use std::process::ExitCode;

/// The runs and their outcomes, oldest first
#[derive(clap::Args)]
pub struct Arguments {
    /// Only the runs of this identifier
    #[arg(long)]
    identifier: Option<String>,
    /// The newest so many
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
}

const TITLES: [&str; 9] = [
    "run", "pipeline", "trigger", "received", "duration", "outcome", "done", "failed", "cause",
];

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    block_on(async {
        let place = context.open().await?;
        place.repair_first().await;
        let all = run_ids(&place, arguments.identifier.as_deref()).await?;
        let newest = &all[all.len().saturating_sub(arguments.limit)..];
        let mut views = Vec::with_capacity(newest.len());
        for run_id in newest {
            if let Some(run) = recorded_run(&place, run_id).await? {
                views.push(view(&place, run, &mut Papers::default()).await?);
            }
        }
        if context.json {
            print::json(&views.iter().map(View::head).collect())?;
        } else if views.is_empty() {
            say(&format!("no runs in {}", place.name()));
        } else {
            let rows: Vec<Vec<String>> = views.iter().map(row).collect();
            print::data(&print::columns(&TITLES, &rows))?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn row(view: &View) -> Vec<String> {
    let run = &view.run;
    let counts = view.counts();
    let fault = view.first_fault().unwrap_or_default();
    vec![
        run.run_id.clone(),
        run.input.pipeline.clone(),
        word(&json!(run.input.trigger.kind)),
        run.received.to_string(),
        duration(view.milliseconds()),
        view.state(),
        (counts.succeeded + counts.no_changes).to_string(),
        (counts.failed + counts.not_run).to_string(),
        fault.lines().next().unwrap_or_default().to_owned(),
    ]
}
