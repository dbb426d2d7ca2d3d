//! What starts after a run.

use crate::outcome::Outcome;
use crate::plan::{Next, NextOn, Plan};
use crate::run::{Chain, Run, StartInput, Trigger, TriggerKind};

/// Runs in one chain at most. Cycles are refused when configuration is read; this is the bound behind that.
pub const CHAIN_DEPTH_MAX: u32 = 20;

/// The start input of the chained run, if its condition holds. `family_complete`: every enabled table has a success,
/// in this run or in those that it resumes. `asked`: what the first of them was started with.
pub fn next(
    run: &Run,
    asked: &StartInput,
    plan: &Plan,
    outcome: Outcome,
    family_complete: bool,
) -> Option<StartInput> {
    let (pipeline, on) = match run.input.chain {
        Chain::Stop => return None,
        Chain::Reload => (
            reload_after(&run.input.pipeline)?.to_owned(),
            NextOn::Succeeded,
        ),
        Chain::Configured => match &plan.next {
            Next::Stop => return None,
            Next::Start { pipeline, on } => (pipeline.clone(), *on),
        },
    };
    let holds = match (outcome, on) {
        (Outcome::Succeeded, _) => family_complete,
        (Outcome::Partial, NextOn::Partial) => true,
        (Outcome::Partial, NextOn::Succeeded) => false,
        (Outcome::Failed | Outcome::Aborted | Outcome::Skipped, _) => false,
    };
    if !holds || run.input.depth + 1 >= CHAIN_DEPTH_MAX {
        return None;
    }
    let root = run.root_run_id().to_owned();
    Some(StartInput {
        identifier: run.input.identifier.clone(),
        pipeline,
        trigger: Trigger {
            kind: TriggerKind::Chained,
            id: root.clone(),
            due: None,
            interval_minutes: None,
        },
        root_run_id: Some(root),
        resumes: None,
        depth: run.input.depth + 1,
        only: match run.input.chain {
            Chain::Reload => asked.only.clone(),
            Chain::Configured | Chain::Stop => None,
        },
        chain: run.input.chain,
        engine: None,
    })
}

/// The order of a reload.
fn reload_after(pipeline: &str) -> Option<&'static str> {
    match pipeline {
        "jdbc_load" => Some("seed_hudi"),
        "seed_hudi" => Some("incremental_hudi"),
        _ => None,
    }
}
