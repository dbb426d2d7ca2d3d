//! `cancel`: ends a run.

use crate::context::{Context, FAILED, Trouble, block_on};
use crate::driver::{drive_apart, repair_first};
use crate::print::{self, say};
use crate::view::{Papers, find_run, recorded_run, view};
use local::Local;
use pipeline::outcome::Outcome;
use pipeline::run::{Run, RunStatus};
use std::process::ExitCode;
use std::time::Duration;
use tasks::control::{self, Cancelled};

const LOOK_INTERVAL: Duration = Duration::from_millis(200);

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
    let local = context.open()?;
    block_on(async {
        repair_first(&local).await;
        let run = find_run(&local, &arguments.run).await?;
        let asked = control::cancel(&local, &run.run_id).await?;
        if asked == Cancelled::TooLate {
            say(&format!("run `{}` is past cancelling", run.run_id));
        }
        let execution = &run.owner_execution;
        if run.status != RunStatus::Ended && !local.is_driven(execution)? {
            drive_apart(&local, execution)?;
        }
        if arguments.detach && asked == Cancelled::Asked {
            say(&format!("run `{}` will be cancelled", run.run_id));
            return Ok(ExitCode::SUCCESS);
        }
        let ended = wait_for_end(&local, run).await?;
        let ended = view(&local, ended, &mut Papers::default()).await?;
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

async fn wait_for_end(local: &Local, mut run: Run) -> Result<Run, Trouble> {
    while run.status != RunStatus::Ended {
        tokio::time::sleep(LOOK_INTERVAL).await;
        if let Some(now) = recorded_run(local, &run.run_id).await? {
            run = now;
        }
    }
    Ok(run)
}
