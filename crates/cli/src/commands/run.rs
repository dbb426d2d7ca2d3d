//! `run`: a pipeline, and those that follow it.

use crate::context::{Context, Trouble, block_on};
use crate::follow::{self, Manner};
use crate::place::Place;
use crate::request::{check_tables, new_key, planned};
use pipeline::plan;
use pipeline::planning::PlanRequest;
use pipeline::run::{Chain, StartInput, Trigger, TriggerKind};
use std::process::ExitCode;

/// Runs a pipeline, and those that follow it
///
/// Exits with 0 only when every run of the chain SUCCEEDED. A run that may not start now waits for its turn, and says
/// behind which; one that was SKIPPED exits with 1 and says why.
///
/// Ctrl-C (or SIGTERM) asks for a cancel and waits for its end; a second one leaves that to the background. When the
/// terminal closes, the run goes on in the background. A run of a stack goes on when its following is ended. stdout has one line per ended run; with --json an array of them.
#[derive(clap::Args)]
pub struct Arguments {
    /// Whose pipeline
    #[arg(long)]
    identifier: String,
    /// jdbc_load, seed_hudi, incremental_hudi, continuous_hudi, or the name of a custom pipeline
    #[arg(long)]
    pipeline: String,
    /// Only this table (SCHEMA.TABLE) or script; may be repeated
    #[arg(long = "table", value_name = "TABLE")]
    tables: Vec<String>,
    /// Instead of the configured engine
    #[arg(long)]
    engine: Option<Engine>,
    /// The same key is the same run: asking twice starts it once
    #[arg(long)]
    key: Option<String>,
    /// Starts nothing after this run
    #[arg(long)]
    no_chain: bool,
    #[command(flatten)]
    manner: Manner,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Engine {
    Native,
    Spark,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    block_on(async { start(context, &context.open().await?, arguments).await })
}

async fn start(
    context: &Context,
    place: &Place,
    arguments: Arguments,
) -> Result<ExitCode, Trouble> {
    let request = PlanRequest {
        identifier: arguments.identifier,
        pipeline: arguments.pipeline,
        engine: arguments.engine.map(|engine| match engine {
            Engine::Native => plan::Engine::Native,
            Engine::Spark => plan::Engine::Spark,
        }),
    };
    if let Some(plan) = planned(place, &request).await? {
        check_tables(&plan, &arguments.tables)?;
    }
    let input = StartInput {
        trigger: Trigger {
            kind: TriggerKind::Manual,
            id: arguments.key.unwrap_or_else(new_key),
            due: None,
            interval_minutes: None,
        },
        identifier: request.identifier,
        pipeline: request.pipeline,
        root_run_id: None,
        resumes: None,
        depth: 0,
        only: Some(arguments.tables).filter(|tables| !tables.is_empty()),
        chain: match arguments.no_chain {
            true => Chain::Stop,
            false => Chain::Configured,
        },
        engine: request.engine,
    };
    place.repair_first().await;
    follow::start(context, place, &input, &arguments.manner).await
}
