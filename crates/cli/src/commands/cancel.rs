//! `cancel`: ends a run.

use crate::context::{Context, FAILED, Trouble, block_on};
use crate::place::Place;
use crate::print::{self, say};
use crate::view::{Papers, find_run, recorded_run, view};
use pipeline::outcome::Outcome;
use pipeline::run::{Run, RunStatus};
use std::process::ExitCode;
use tasks::control::{self, Cancelled};

/// Ends a run, and waits until it has ended
///
/// Exits with 0 when the run is ABORTED, with 1 when it had another outcome before it could be cancelled.
#[derive(clap::Args)]
pub struct Arguments {
    /// A run id, the beginning of one or of its last part, or `last`
    run: String,
    /// Does not wait for the end
    #[arg(long)]
    detach: bool,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    block_on(async {
        let place = context.open().await?;
        place.repair_first().await;
        let run = find_run(&place, &arguments.run).await?;
        let asked = control::cancel(&place, &run.run_id).await?;
        if asked == Cancelled::TooLate {
            say(&format!("run `{}` is past cancelling", run.run_id));
        }
        if run.status != RunStatus::Ended {
            place.take_up(&run.owner_execution)?;
        }
        if arguments.detach && asked == Cancelled::Asked {
            say(&format!("run `{}` will be cancelled", run.run_id));
            return Ok(ExitCode::SUCCESS);
        }
        let ended = wait_for_end(&place, run).await?;
        let ended = view(&place, ended, &mut Papers::default()).await?;
        match context.json {
            true => print::json(&ended.whole())?,
            false => print::data(&format!("{}\n", ended.summary()))?,
        };
        Ok(match ended.run.outcome {
            Some(Outcome::Aborted) => ExitCode::SUCCESS,
            _ => ExitCode::from(FAILED),
        })
    })
}

async fn wait_for_end(place: &Place, mut run: Run) -> Result<Run, Trouble> {
    while run.status != RunStatus::Ended {
        tokio::time::sleep(place.look_interval()).await;
        if let Some(now) = recorded_run(place, &run.run_id).await? {
            run = now;
        }
    }
    Ok(run)
}
