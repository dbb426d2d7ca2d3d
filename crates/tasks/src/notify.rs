//! `notify`: sends what a run has queued for people. At least once, always with the same id and content.

use crate::error::TaskError;
use crate::port::{Clock, Ledger, Mail, Mailer, WriteError};
use crate::record::{self, Versioned};
use crate::state::{Decision, State, TaskInput};
use pipeline::notice::Notice;

/// What a run may have queued for people.
pub const NOTICES: [&str; 2] = ["notice", "stuck"];

pub async fn run(
    ports: &(impl Ledger + Mailer + Clock),
    input: &TaskInput,
) -> Result<State, TaskError> {
    let run = record::get_run(ports, &input.run_id()?).await?;
    for what in NOTICES {
        send(ports, &run.value.run_id, what).await?;
    }
    Ok(State::of(&run.value, Decision::Finished))
}

/// Sends it if it is still queued, then moves it to what was sent.
pub async fn send(
    ports: &(impl Ledger + Mailer + Clock),
    run_id: &str,
    what: &str,
) -> Result<bool, TaskError> {
    let queued: Option<Versioned<Notice>> =
        record::get(ports, &record::outbox(run_id, what)).await?;
    let Some(queued) = queued else {
        return Ok(false);
    };
    let Notice { id, subject, body } = queued.value.clone();
    ports.send(&Mail { id, subject, body }).await?;
    let sent = record::create(record::sent(run_id, what), &ports.now());
    match ports.write(&[queued.delete(), sent]).await {
        // Somebody else sent it as well: the same id, the same message.
        Ok(()) | Err(WriteError::Conflict(_)) => Ok(true),
        Err(WriteError::Port(error)) => Err(error.into()),
    }
}
