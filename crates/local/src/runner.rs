//! Drives executions: runs their tasks in this process, waits in real time, and keeps their state at each transition before acting on it.

use crate::executions::HistoryEvent;
use crate::saved::{Saved, Transition};
use crate::{Local, kill, lock};
use asl::{Action, Event, Execution, Machine, Moment, Outcome, Start, Status, TaskRequest};
use pipeline::time::Timestamp;
use serde_json::{Value, json};
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::Duration;
use tasks::error::TaskError;
use tasks::port::{Clock, ExecutionStatus, PortError};

/// Between two looks at whether a wait was cut short, and at whether another driver is gone.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// The error of a task that panicked: nothing retries it.
const PANIC: &str = "Panic";
/// What follows the task's name in a definition's resources.
const RESOURCE_SUFFIX: &str = "FunctionArn}";

/// What a driver asks of whoever knows the tasks.
#[allow(async_fn_in_trait)]
pub trait Host {
    async fn run_task(&self, task: &str, input: Value) -> Result<Value, TaskError>;
    /// Whether a wait of this execution is not worth its rest: what it waits for has happened, or its run was cancelled.
    async fn cuts_waits(&self, execution: &str) -> bool;
}

#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    #[error("there is no execution `{0}`")]
    Unknown(String),
    #[error("the lock of execution `{execution}` cannot be taken: {source}")]
    Lock {
        execution: String,
        source: io::Error,
    },
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Drives an execution and those that it starts, one after the other, until none of them runs.
pub async fn drive_chain(local: &Local, name: &str, host: &impl Host) -> Result<(), DriveError> {
    while let Some(next) = local.running_executions_since(name)?.first() {
        drive(local, next, host).await?;
    }
    Ok(())
}

/// Drives an execution to its end, or sees another process do so.
pub async fn drive(
    local: &Local,
    name: &str,
    host: &impl Host,
) -> Result<ExecutionStatus, DriveError> {
    loop {
        let locked = lock::try_hold(&local.home().execution_lock(name)).map_err(|source| {
            DriveError::Lock {
                execution: name.to_owned(),
                source,
            }
        })?;
        let saved = local
            .saved_execution(name)?
            .ok_or_else(|| DriveError::Unknown(name.to_owned()))?;
        match (saved.status, locked) {
            (ExecutionStatus::Running, Some(_alive)) => {
                return Driver::load(local, name, host, saved)?.run().await;
            }
            (ExecutionStatus::Running, None) => tokio::time::sleep(LOOK_INTERVAL).await,
            (ended, _) => return Ok(ended),
        }
    }
}

struct Driver<'a, H> {
    local: &'a Local,
    name: &'a str,
    host: &'a H,
    machine: Machine,
    execution: Execution,
    /// Number of the next history event.
    events: u64,
}

impl<'a, H: Host> Driver<'a, H> {
    /// From its first state, or from where another driver left it.
    fn load(
        local: &'a Local,
        name: &'a str,
        host: &'a H,
        saved: Saved,
    ) -> Result<Self, DriveError> {
        let events = saved.events;
        let (machine, execution) = match revive(name, saved) {
            Ok(revived) => revived,
            Err(cause) => {
                give_up(local, name, &cause)?;
                return Err(PortError::Refused {
                    service: "executions",
                    message: cause,
                }
                .into());
            }
        };
        Ok(Self {
            local,
            name,
            host,
            machine,
            execution,
            events,
        })
    }

    async fn run(mut self) -> Result<ExecutionStatus, DriveError> {
        loop {
            self.execution.time_passed(&self.machine, now(self.local));
            let action = self.execution.action(&self.machine);
            self.save(&action)?;
            match action {
                Action::RunTask(task) => self.run_task(task).await,
                Action::WaitUntil(until) => self.wait(until).await,
                Action::Finished(outcome) => return Ok(status(&outcome)),
            }
        }
    }

    /// Before acting: who goes on from here does the same.
    fn save(&mut self, action: &Action) -> Result<(), DriveError> {
        let fresh = self.execution.drain_events();
        let now = self.local.now();
        let events: Vec<HistoryEvent> =
            fresh.into_iter().map(|event| history(event, now)).collect();
        if events.is_empty() {
            return Ok(());
        }
        let outcome = match action {
            Action::Finished(outcome) => Some(outcome),
            Action::RunTask(_) | Action::WaitUntil(_) => None,
        };
        kill::point("runner.before.save");
        self.local.save_execution(
            self.name,
            &Transition {
                state: &json!(self.execution).to_string(),
                status: outcome.map_or(ExecutionStatus::Running, status),
                output: outcome
                    .and_then(|outcome| outcome.output.as_ref())
                    .map(Value::to_string),
                error: outcome.and_then(|outcome| outcome.error.as_deref()),
                cause: outcome.and_then(|outcome| outcome.cause.as_deref()),
                events: &events,
                first_event: self.events,
            },
        )?;
        kill::point("runner.after.save");
        self.events += events.len() as u64;
        Ok(())
    }

    async fn run_task(&mut self, task: TaskRequest) {
        let limit = task.deadline.0.saturating_sub(self.local.now().0);
        let limit = Duration::from_millis(u64::try_from(limit).unwrap_or(0));
        let work = call(self.host, &task.resource, task.input);
        // Without an answer in time the machine's own time-out applies.
        let Ok(answer) = tokio::time::timeout(limit, work).await else {
            return;
        };
        let now = now(self.local);
        let taken = match answer {
            Ok(result) => self
                .execution
                .task_succeeded(&self.machine, task.token, result, now),
            Err((error, message)) => {
                // As the Lambda runtime reports it.
                let cause = json!({"errorType": error, "errorMessage": message}).to_string();
                self.execution
                    .task_failed(&self.machine, task.token, error, &cause, now)
            }
        };
        if taken.is_err() {
            tracing::warn!(
                execution = self.name,
                state = task.state,
                "an answer came too late"
            );
        }
    }

    async fn wait(&mut self, until: Moment) {
        loop {
            let left = until.0.saturating_sub(self.local.now().0);
            let Ok(left @ 1..) = u64::try_from(left) else {
                return;
            };
            if self.host.cuts_waits(self.name).await {
                return self.execution.time_passed(&self.machine, until);
            }
            tokio::time::sleep(LOOK_INTERVAL.min(Duration::from_millis(left))).await;
        }
    }
}

/// The machine and the execution as they were left, or why they cannot be had any more.
fn revive(name: &str, saved: Saved) -> Result<(Machine, Execution), String> {
    let machine = Machine::parse(&saved.definition).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })?;
    let execution = match saved.state {
        Some(state) => serde_json::from_str(&state).map_err(|error| error.to_string())?,
        None => Execution::start(
            &machine,
            Start {
                name: name.to_owned(),
                id: format!("local:execution:{name}"),
                machine_name: "pipeline".to_owned(),
                machine_id: "local:stateMachine:pipeline".to_owned(),
                input: saved.input,
                now: Moment(saved.started.0),
                seed: rand::random(),
            },
        )
        .map_err(|error| error.to_string())?,
    };
    Ok((machine, execution))
}

/// An execution that cannot be read fails, so that the sweep takes its run to an end.
fn give_up(local: &Local, name: &str, cause: &str) -> Result<(), PortError> {
    local.save_execution(
        name,
        &Transition {
            state: "null",
            status: ExecutionStatus::Failed,
            output: None,
            error: Some("States.Runtime"),
            cause: Some(cause),
            events: &[],
            first_event: 0,
        },
    )
}

/// Runs a task; a panic is an error like others.
async fn call(
    host: &impl Host,
    resource: &str,
    input: Value,
) -> Result<Value, (&'static str, String)> {
    let task = task_name(resource);
    let mut work = pin!(host.run_task(&task, input));
    let answer =
        poll_fn(
            |context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
                Ok(poll) => poll.map(Ok),
                Err(panic) => std::task::Poll::Ready(Err(panic)),
            },
        )
        .await;
    match answer {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err((error.name(), error.to_string())),
        Err(panic) => Err((PANIC, message(panic.as_ref()))),
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a task panicked".to_owned())
}

/// `${ReadConfigFunctionArn}`, which a deployment replaces by an ARN, is the task `read-config`.
fn task_name(resource: &str) -> String {
    let name = resource
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix(RESOURCE_SUFFIX))
        .unwrap_or(resource);
    let mut task = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !task.is_empty() {
            task.push('-');
        }
        task.push(letter.to_ascii_lowercase());
    }
    task
}

fn now(local: &Local) -> Moment {
    Moment(local.now().0)
}

/// A wait that was cut short ends at its appointed time, which is still to come: nobody wants to read that.
fn history(event: Event, now: Timestamp) -> HistoryEvent {
    HistoryEvent {
        at: Timestamp(event.at.0).min(now),
        kind: json!(event.kind).as_str().unwrap_or_default().to_owned(),
        state: event.state,
        error: event.error,
        cause: event.cause,
    }
}

fn status(outcome: &Outcome) -> ExecutionStatus {
    match outcome.status {
        Status::Succeeded => ExecutionStatus::Succeeded,
        Status::Failed => ExecutionStatus::Failed,
        Status::TimedOut => ExecutionStatus::TimedOut,
        Status::Aborted => ExecutionStatus::Aborted,
    }
}

#[cfg(test)]
mod tests {
    use super::task_name;

    #[test]
    fn a_resource_of_the_definition_names_its_task() {
        for (resource, task) in [
            ("${ReadConfigFunctionArn}", "read-config"),
            ("${AdmitFunctionArn}", "admit"),
            ("${NextPipelineFunctionArn}", "next-pipeline"),
        ] {
            assert_eq!(task_name(resource), task);
        }
    }
}
