//! `next-pipeline`: starts the chained run, if the run's end queued one.

use crate::error::TaskError;
use crate::port::{Clock, Executions, Ledger, WriteError};
use crate::record::{self, Versioned};
use crate::state::{Decision, State, TaskInput};
use pipeline::run::{StartInput, run_id};

pub async fn run(
    ports: &(impl Ledger + Executions + Clock),
    input: &TaskInput,
) -> Result<State, TaskError> {
    let run = record::get_run(ports, &input.run_id()?).await?;
    start(ports, &run.value.run_id).await?;
    Ok(State::of(&run.value, Decision::Finished))
}

/// Starts it if it is still queued. Its name derives from the root run: a second start finds it there.
pub async fn start(
    ports: &(impl Ledger + Executions + Clock),
    after: &str,
) -> Result<Option<String>, TaskError> {
    let queued: Option<Versioned<StartInput>> =
        record::get(ports, &record::outbox(after, "chain")).await?;
    let Some(queued) = queued else {
        return Ok(None);
    };
    let name = name(&queued.value);
    let input = serde_json::to_value(&queued.value)
        .map_err(|error| TaskError::Corrupt(error.to_string()))?;
    ports.start_execution(&name, &input).await?;
    match ports
        .write(&[
            queued.delete(),
            record::create(record::sent(after, "chain"), &name),
        ])
        .await
    {
        Ok(()) | Err(WriteError::Conflict(_)) => Ok(Some(name)),
        Err(WriteError::Port(error)) => Err(error.into()),
    }
}

fn name(next: &StartInput) -> String {
    run_id(&next.identifier, &next.pipeline, &next.trigger.id)
}

/// The run that follows one that has ended, whether it was started already or is still queued.
pub async fn following(ledger: &impl Ledger, after: &str) -> Result<Option<String>, TaskError> {
    // Starting it moves it from the one record to the other: looked at in this order it is never missed.
    if let Some(queued) = record::get::<StartInput>(ledger, &record::outbox(after, "chain")).await?
    {
        return Ok(Some(name(&queued.value)));
    }
    let sent = record::get(ledger, &record::sent(after, "chain")).await?;
    Ok(sent.map(|sent: Versioned<String>| sent.value))
}
