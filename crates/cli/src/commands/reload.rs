//! `reload`: load, seed and merge of some tables, as one chain.

use crate::context::{Context, Trouble, block_on};
use crate::follow::{self, Manner};
use crate::place::Place;
use crate::request::{check_tables, new_key, planned};
use pipeline::key::PipelineName;
use pipeline::planning::PlanRequest;
use std::process::ExitCode;
use tasks::control;

/// Loads, seeds and merges some tables anew, as one chain of runs
///
/// What follows is the same for `run`: exit codes, signals, and what is printed.
#[derive(clap::Args)]
pub struct Arguments {
    /// Whose tables
    #[arg(long)]
    identifier: String,
    /// SCHEMA.TABLE
    #[arg(required = true, value_name = "TABLE")]
    tables: Vec<String>,
    /// The same key is the same run: asking twice starts it once
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    manner: Manner,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    block_on(async { reload(context, &context.open().await?, arguments).await })
}

async fn reload(
    context: &Context,
    place: &Place,
    arguments: Arguments,
) -> Result<ExitCode, Trouble> {
    let key = arguments.key.unwrap_or_else(new_key);
    let input = control::reload(&arguments.identifier, arguments.tables, &key);
    for pipeline in [PipelineName::JdbcLoad, PipelineName::SeedHudi] {
        let request = PlanRequest {
            identifier: input.identifier.clone(),
            pipeline: pipeline.to_string(),
            engine: None,
        };
        if let (Some(plan), Some(tables)) = (planned(place, &request).await?, &input.only) {
            check_tables(&plan, tables)?;
        }
    }
    place.repair_first().await;
    follow::start(context, place, &input, &arguments.manner).await
}
