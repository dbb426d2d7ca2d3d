//! `sweep`: repairs what killed processes left behind.

use crate::context::{Context, Trouble, block_on};
use crate::place::Repaired;
use crate::print::{self, Reader, say};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// Repairs what killed processes left: runs are resumed or finished, clusters ended, mails sent
///
/// A stack on AWS does it by itself every few minutes; with --stack it is done at once, with your own credentials.
#[derive(clap::Args)]
pub struct Arguments {
    /// Sweeps again after so many seconds, until it is ended
    #[arg(long = "loop", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    every: Option<u64>,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    block_on(async {
        let place = context.open().await?;
        let Some(seconds) = arguments.every else {
            let repaired = place.repair().await?;
            if repaired.lines().is_empty() {
                say("nothing to repair");
            }
            tell(context, &repaired)?;
            return Ok(ExitCode::SUCCESS);
        };
        loop {
            match place.repair().await {
                Ok(repaired) => {
                    if tell(context, &repaired)? == Reader::Gone {
                        return Ok(ExitCode::SUCCESS);
                    }
                }
                // What cannot be repaired now may be by the next time.
                Err(trouble) => say(&trouble.to_string()),
            }
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    })
}

fn tell(context: &Context, repaired: &Repaired) -> Result<Reader, Trouble> {
    if context.json {
        return print::data(&format!("{}\n", as_json(repaired)));
    }
    let lines: String = repaired
        .lines()
        .iter()
        .map(|line| format!("{line}\n"))
        .collect();
    print::data(&lines)
}

/// One line, so that a loop writes one object a line.
fn as_json(repaired: &Repaired) -> Value {
    json!({
        "resumed": repaired.resumed,
        "finished": repaired.swept.finished,
        "terminated": repaired.swept.terminated,
        "sent": repaired.swept.sent,
        "reported": repaired.swept.reported,
    })
}
