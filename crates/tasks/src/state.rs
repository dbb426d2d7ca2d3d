//! What an execution carries between tasks: small, and of one size whatever the number of tables.

use crate::error::TaskError;
use crate::port::{Clock, Ledger, Objects};
use crate::record::{self, Versioned};
use crate::step;
use pipeline::outcome::Outcome;
use pipeline::plan::{Frozen, Plan};
use pipeline::run::{Cause, FileRef, Run, RunStatus, StartInput, Work, run_id};
use pipeline::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of `State`'s JSON form; tasks read this one and the one before.
pub const STATE_SCHEMA_VERSION: u32 = 1;

/// The input of every task.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TaskInput {
    /// Name of the execution that asks.
    pub execution: String,
    /// The start input in the first task, `State` in the others, with `error` beside it after a catch.
    pub state: Value,
}

/// The output of every task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub schema_version: u32,
    pub run_id: String,
    pub identifier: String,
    pub pipeline: String,
    /// The one field on which the definition branches.
    pub decision: Decision,
    pub wait_seconds: i64,
    pub outcome: Option<Outcome>,
}

/// The closed set of words on which the definition branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Decision {
    /// Another execution has this trigger's run.
    Duplicate,
    Planned,
    Admitted,
    Queued,
    Work,
    Ready,
    Wait,
    Observe,
    Submit,
    Relaunch,
    /// Nothing more to run: fix the outcome, clean up.
    Close,
    Terminating,
    Finished,
}

impl State {
    pub fn of(run: &Run, decision: Decision) -> Self {
        Self {
            schema_version: STATE_SCHEMA_VERSION,
            run_id: run.run_id.clone(),
            identifier: run.input.identifier.clone(),
            pipeline: run.input.pipeline.clone(),
            decision,
            wait_seconds: 0,
            outcome: run.outcome,
        }
    }

    pub fn wait(mut self, seconds: i64) -> Self {
        self.wait_seconds = seconds;
        self
    }
}

/// What a Catch leaves in `error`.
#[derive(Debug, Clone, Deserialize)]
struct Caught {
    #[serde(rename = "Error")]
    error: String,
    #[serde(rename = "Cause", default)]
    cause: String,
}

impl TaskInput {
    /// The run that this is about: named by the state, or derived from the start input.
    pub fn run_id(&self) -> Result<String, TaskError> {
        if let Some(Value::String(run_id)) = self.state.get("run_id") {
            return Ok(run_id.clone());
        }
        let start = self.start()?;
        Ok(run_id(
            &start.identifier,
            &start.pipeline,
            &start.trigger.id,
        ))
    }

    /// The start input.
    pub fn start(&self) -> Result<StartInput, TaskError> {
        let mut state = self.state.clone();
        if let Value::Object(fields) = &mut state {
            fields.remove("error");
        }
        serde_json::from_value(state).map_err(|error| {
            TaskError::BadInput(format!("the start input is not of its form: {error}"))
        })
    }

    /// The fault that a Catch sent here.
    pub fn caught(&self) -> Option<Cause> {
        let caught: Caught = serde_json::from_value(self.state.get("error")?.clone()).ok()?;
        // Lambda wraps the message in JSON with `errorMessage`.
        let message = serde_json::from_str::<Value>(&caught.cause)
            .ok()
            .and_then(|cause| cause.get("errorMessage")?.as_str().map(str::to_owned))
            .unwrap_or(caught.cause);
        Some(Cause::new(&caught.error, message))
    }
}

/// A run that this execution may take further, and what it froze.
pub struct Live {
    pub run: Versioned<Run>,
    pub now: Timestamp,
}

/// Whether there is anything to take further.
pub enum Begun {
    Live(Box<Live>),
    /// To be closed, or somebody else's, or ended.
    Over(State),
}

/// The beginning of every task but the first: reads RUN and sees whether the run goes on.
pub async fn begin(ports: &(impl Ledger + Clock), input: &TaskInput) -> Result<Begun, TaskError> {
    let run = record::get_run(ports, &input.run_id()?).await?;
    let now = ports.now();
    let mine = run.value.owner_execution == input.execution;
    let goes_on = match run.value.status {
        RunStatus::Received | RunStatus::Queued | RunStatus::Admitted => true,
        RunStatus::Closing | RunStatus::Ended => false,
    };
    let given_up =
        run.value.cancel.is_some() || run.value.deadline.is_some_and(|deadline| now >= deadline);
    if mine && goes_on && !given_up {
        Ok(Begun::Live(Box::new(Live { run, now })))
    } else {
        Ok(Begun::Over(State::of(&run.value, Decision::Close)))
    }
}

impl Live {
    pub async fn frozen(&self, objects: &impl Objects) -> Result<Frozen, TaskError> {
        step::read_plan(objects, required(&self.run.value.plan, "plan")?).await
    }

    pub async fn work(&self, objects: &impl Objects) -> Result<Work, TaskError> {
        read_json(objects, required(&self.run.value.work, "work list")?).await
    }

    /// Keeps the first root fault and sends the run to its close.
    pub async fn fail(mut self, ledger: &impl Ledger, cause: Cause) -> Result<State, TaskError> {
        let before = self.run.clone();
        self.run.value.blame(cause);
        ledger.write(&[before.replace(&self.run.value)]).await?;
        Ok(State::of(&self.run.value, Decision::Close))
    }
}

fn required<'a>(file: &'a Option<FileRef>, what: &str) -> Result<&'a FileRef, TaskError> {
    file.as_ref()
        .ok_or_else(|| TaskError::Corrupt(format!("the run has no {what}")))
}

/// A frozen JSON file, if its bytes have the sha256.
pub async fn read_json<T: serde::de::DeserializeOwned>(
    objects: &impl Objects,
    file: &FileRef,
) -> Result<T, TaskError> {
    let corrupt = |what: String| TaskError::Corrupt(format!("the file at `{}` {what}", file.uri));
    let bytes = objects
        .read(&file.uri)
        .await?
        .ok_or_else(|| corrupt("is missing".to_owned()))?;
    let found = pipeline::run::sha256(&bytes);
    if found != file.sha256 {
        return Err(corrupt(format!(
            "does not have the sha256 {}: {found}",
            file.sha256
        )));
    }
    serde_json::from_slice(&bytes).map_err(|error| corrupt(format!("is not of its form: {error}")))
}

/// Freezes a value as JSON beside the run's other files, named by its sha256.
pub async fn freeze(
    objects: &impl Objects,
    plan: &Plan,
    run_id: &str,
    what: &str,
    value: &impl Serialize,
) -> Result<FileRef, TaskError> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| TaskError::Corrupt(format!("the {what} has no JSON form: {error}")))?;
    let sha256 = pipeline::run::sha256(&bytes);
    let uri = plan
        .zones
        .run_file(run_id, &format!("{what}-{sha256}.json"));
    objects.put(&uri, &bytes).await?;
    Ok(FileRef { uri, sha256 })
}
