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
    let next = &queued.value;
    let name = run_id(&next.identifier, &next.pipeline, &next.trigger.id);
    let input =
        serde_json::to_value(next).map_err(|error| TaskError::Corrupt(error.to_string()))?;
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
