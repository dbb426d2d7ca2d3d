//! Sees a chain of runs to its end: drives it in this process, tells how it goes on, and honours signals.

use crate::context::{Context, FAILED, Trouble};
use crate::place::Place;
use crate::print::{self, say};
use crate::view::View;
use crate::watch::{Summaries, Watch};
use pipeline::run::StartInput;
use serde_json::json;
use std::pin::pin;
use std::process::ExitCode;
use tasks::control::{self, Cancelled, Link};
use tasks::error::TaskError;
use tasks::port::Started;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// A look at thousands of tables takes long: so many times as long it is not repeated.
const LOOK_SHARE: u32 = 10;

/// What is done with a run once it was started.
#[derive(clap::Args)]
pub struct Manner {
    /// Starts the run in the background and prints its id
    #[arg(long)]
    detach: bool,
}

/// What a person at the terminal, or who ended the terminal, wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Ctrl-C, or SIGTERM.
    Stop,
    /// The terminal is gone.
    Leave,
}

/// How following ended.
enum Followed {
    Ended(Vec<View>),
    /// The chain goes on in the background.
    Left,
}

/// Starts a run as it was asked for, and sees it and its chain to their end unless it is detached.
pub async fn start(
    context: &Context,
    place: &Place,
    input: &StartInput,
    manner: &Manner,
) -> Result<ExitCode, Trouble> {
    let asked = control::start(place, input).await?;
    if asked.started == Started::Before {
        say(&format!(
            "run `{}` was started before with this key",
            asked.run_id
        ));
    }
    if manner.detach {
        place.leave(&asked.execution)?;
        match context.json {
            true => print::json(&json!({"run_id": asked.run_id}))?,
            false => print::data(&format!("{}\n", asked.run_id))?,
        };
        return Ok(ExitCode::SUCCESS);
    }
    let summaries = match context.json {
        true => Summaries::Kept,
        false => Summaries::Printed,
    };
    match follow(place, &asked.execution, summaries).await? {
        Followed::Ended(views) => finish(context, place, &asked.execution, &views).await,
        Followed::Left => Ok(ExitCode::from(FAILED)),
    }
}

/// The data, and the exit code: every run of the chain must have succeeded.
async fn finish(
    context: &Context,
    place: &Place,
    execution: &str,
    views: &[View],
) -> Result<ExitCode, Trouble> {
    if context.json {
        print::json(&views.iter().map(View::whole).collect())?;
    }
    if views.is_empty() {
        let (error, cause) = place.fault_of(execution).await?.unwrap_or_default();
        return Err(Trouble::failed(format!(
            "execution `{execution}` ended without a run: {error}: {cause}"
        )));
    }
    Ok(match views.iter().all(View::succeeded) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FAILED),
    })
}

async fn follow(place: &Place, execution: &str, summaries: Summaries) -> Result<Followed, Trouble> {
    let mut watch = Watch::new(place, summaries);
    let mut signals = Signals::listen()?;
    let mut next_look = Instant::now();
    let mut driving = pin!(place.see_to_end(execution));
    let mut stopping = false;
    loop {
        tokio::select! {
            driven = &mut driving => {
                driven?;
                break;
            }
            () = tokio::time::sleep_until(next_look) => {
                let began = Instant::now();
                watch.look(execution).await?;
                next_look = Instant::now() + place.look_interval().max(began.elapsed() * LOOK_SHARE);
                if stopping {
                    cancel_chain(place, execution).await?;
                }
            }
            wish = signals.wish() => match wish {
                Wish::Stop if !stopping && place.runs_here() => {
                    stopping = true;
                    say("cancelling; once more: it is cancelled in the background");
                    cancel_chain(place, execution).await?;
                }
                Wish::Stop | Wish::Leave => {
                    // It waits until this process has let go.
                    place.leave(execution)?;
                    say(&left(place, execution));
                    return Ok(Followed::Left);
                }
            },
        }
    }
    watch.look(execution).await?;
    Ok(Followed::Ended(watch.ended()))
}

/// What becomes of a run that is no longer followed.
fn left(place: &Place, execution: &str) -> String {
    match place.runs_here() {
        true => format!("run `{execution}` goes on in the background"),
        false => format!(
            "run `{execution}` goes on in {}\nhint: {headwater} show {execution}; {headwater} cancel {execution}",
            place.name(),
            headwater = place.headwater(),
        ),
    }
}

/// Asks every run of the chain that can still be cancelled to end.
async fn cancel_chain(place: &Place, execution: &str) -> Result<(), Trouble> {
    for Link { run_id, .. } in control::chain(place, execution).await? {
        match control::cancel(place, &run_id).await {
            Ok(Cancelled::Asked | Cancelled::TooLate) => {}
            // Not recorded yet: the next look asks again.
            Err(TaskError::BadInput(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Trouble> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Trouble::failed(format!("signals cannot be heard: {error}")))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn wish(&mut self) -> Wish {
        tokio::select! {
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.hang_up.recv() => Wish::Leave,
        }
    }
}
