//! One execution as a value: what it waits for, and how answers and time move it on.

use crate::context::Identity;
use crate::fault::{Fault, HEARTBEAT_TIMEOUT, TIMEOUT};
use crate::history::{Event, EventKind};
use crate::limits::{
    EXECUTION_SECONDS_MAX, HISTORY_EVENTS_MAX, NAME_CHARACTERS_MAX, exceeds_payload,
};
use crate::machine::Machine;
use crate::moment::Moment;
use crate::retry::Random;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What StartExecution takes, and what this interpreter cannot know by itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Start {
    pub name: String,
    pub id: String,
    pub machine_name: String,
    pub machine_id: String,
    pub input: Value,
    pub now: Moment,
    /// Of the jitter of retries.
    pub seed: u64,
}

/// Why an execution does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    #[error(
        "`{0}` is not a name of an execution: 1 to 80 characters without blanks, `:` and brackets"
    )]
    Name(String),
    #[error("the input is bigger than {} bytes", crate::limits::PAYLOAD_BYTES_MAX)]
    Input,
}

/// Names one handing-out of a task; an answer with another token comes too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub u64);

/// An answer to a task that is not under way: it timed out, was answered before, or the execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the task with token {} is not under way", .0.0)]
pub struct Stale(pub Token);

/// What the execution needs from outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Run this, then answer with its token; call `time_passed` at its deadline if it has not answered.
    RunTask(TaskRequest),
    /// Call `time_passed` at this moment.
    WaitUntil(Moment),
    Finished(Outcome),
}

#[derive(Debug, Clone, PartialEq)]
pub struct TaskRequest {
    pub token: Token,
    pub state: String,
    pub resource: String,
    pub input: Value,
    /// When the task, its heartbeat or the execution times out.
    pub deadline: Moment,
    /// 1, and one more for each retry of this visit of the state.
    pub attempt: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    Succeeded,
    Failed,
    TimedOut,
    Aborted,
}

/// How it ended. Only a success has an output; error and cause of the others may be missing, as a Fail state's may.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub status: Status,
    pub output: Option<Value>,
    pub error: Option<String>,
    pub cause: Option<String>,
}

/// An execution. Save it whenever it changed: what is read back goes on in the same way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    pub(crate) identity: Identity,
    pub(crate) deadline: Moment,
    pub(crate) random: Random,
    pub(crate) tokens: u64,
    events: u64,
    pub(crate) phase: Phase,
    /// Recorded and not yet taken.
    fresh: Vec<Event>,
}

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Phase {
    Task(Visit, Running),
    /// Between two attempts of a task.
    Backoff(Visit, Moment),
    Wait(Visit, Moment),
    Finished(Outcome),
}

/// One stay in a state, from entering it to leaving it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Visit {
    pub state: String,
    /// As the state before left it.
    pub input: Value,
    pub entered: Moment,
    /// Retries so far, by retrier.
    pub retries: Vec<u32>,
}

impl Visit {
    pub(crate) fn retry_count(&self) -> u32 {
        self.retries.iter().sum()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub token: Token,
    pub deadline: Moment,
    pub heartbeat: Option<Heartbeat>,
    /// The computed input, until it is handed out. After a restart it is computed again.
    #[serde(skip)]
    pub prepared: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heartbeat {
    pub seconds: u64,
    pub deadline: Moment,
}

impl Running {
    fn next_deadline(&self) -> Moment {
        self.heartbeat
            .map_or(self.deadline, |beat| beat.deadline.min(self.deadline))
    }
}

impl Execution {
    pub fn start(machine: &Machine, start: Start) -> Result<Self, StartError> {
        check_name(&start.name)?;
        if exceeds_payload(&start.input) {
            return Err(StartError::Input);
        }
        let seconds = machine
            .timeout_seconds
            .unwrap_or(EXECUTION_SECONDS_MAX)
            .min(EXECUTION_SECONDS_MAX);
        let mut execution = Self {
            deadline: start.now.plus_seconds(seconds),
            random: Random::new(start.seed),
            tokens: 0,
            events: 0,
            phase: Phase::Wait(Visit::new("", Value::Null, start.now), start.now),
            fresh: Vec::new(),
            identity: Identity {
                id: start.id,
                name: start.name,
                machine_id: start.machine_id,
                machine_name: start.machine_name,
                input: start.input,
                started: start.now,
            },
        };
        execution.record(EventKind::ExecutionStarted, None, start.now);
        let input = execution.identity.input.clone();
        execution.run(machine, &machine.start_at, input, start.now);
        Ok(execution)
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The state it is in; `None` when it has finished.
    pub fn state(&self) -> Option<&str> {
        match &self.phase {
            Phase::Task(visit, _) | Phase::Backoff(visit, _) | Phase::Wait(visit, _) => {
                Some(&visit.state)
            }
            Phase::Finished(_) => None,
        }
    }

    /// Events recorded since it started.
    pub fn events_count(&self) -> u64 {
        self.events
    }

    /// Takes the events recorded since this was called last.
    pub fn drain_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.fresh)
    }

    /// What is needed now. Asking again gives the same again, even after a restart: whether a task that was handed out before a
    /// crash is run a second time is the caller's decision.
    pub fn action(&mut self, machine: &Machine) -> Action {
        match &mut self.phase {
            Phase::Task(visit, running) => {
                let input = match running.prepared.take() {
                    Some(input) => Ok(input),
                    None => crate::step::task_input(machine, &self.identity, visit),
                };
                let Ok(input) = input else {
                    return Action::WaitUntil(self.deadline);
                };
                Action::RunTask(TaskRequest {
                    token: running.token,
                    state: visit.state.clone(),
                    resource: crate::step::resource(machine, &visit.state),
                    input,
                    deadline: running.next_deadline().min(self.deadline),
                    attempt: visit.retry_count() + 1,
                })
            }
            Phase::Backoff(_, until) | Phase::Wait(_, until) => {
                Action::WaitUntil((*until).min(self.deadline))
            }
            Phase::Finished(outcome) => Action::Finished(outcome.clone()),
        }
    }

    pub fn task_succeeded(
        &mut self,
        machine: &Machine,
        token: Token,
        result: Value,
        now: Moment,
    ) -> Result<(), Stale> {
        let visit = self.answered(token)?;
        self.succeed_task(machine, visit, result, now);
        Ok(())
    }

    pub fn task_failed(
        &mut self,
        machine: &Machine,
        token: Token,
        error: &str,
        cause: &str,
        now: Moment,
    ) -> Result<(), Stale> {
        let visit = self.answered(token)?;
        self.fail_task(machine, visit, Fault::new(error, cause), now);
        Ok(())
    }

    /// The task is alive: its heartbeat's deadline moves on.
    pub fn task_heartbeat(&mut self, token: Token, now: Moment) -> Result<(), Stale> {
        match &mut self.phase {
            Phase::Task(_, running) if running.token == token => {
                if let Some(heartbeat) = &mut running.heartbeat {
                    heartbeat.deadline = now.plus_seconds(heartbeat.seconds);
                }
                Ok(())
            }
            _ => Err(Stale(token)),
        }
    }

    /// Fires what is due: the execution's time-out, a task's, a retry, the end of a wait.
    pub fn time_passed(&mut self, machine: &Machine, now: Moment) {
        if matches!(self.phase, Phase::Finished(_)) {
            return;
        }
        if now >= self.deadline {
            return self.time_out(now);
        }
        match self.take_phase() {
            Phase::Task(visit, running) if now >= running.next_deadline() => {
                let (error, what) = if now >= running.deadline {
                    (TIMEOUT, "its time-out")
                } else {
                    (HEARTBEAT_TIMEOUT, "its heartbeat's time-out")
                };
                let cause = format!("the task ran longer than {what}");
                self.fail_task(machine, visit, Fault::new(error, cause), now);
            }
            Phase::Backoff(visit, until) if now >= until => self.hand_out(machine, visit, now),
            Phase::Wait(visit, until) if now >= until => self.end_wait(machine, visit, now),
            early => self.phase = early,
        }
    }

    /// Ends it from outside. A finished execution stays as it is.
    pub fn abort(&mut self, error: Option<String>, cause: Option<String>, now: Moment) {
        if !matches!(self.phase, Phase::Finished(_)) {
            self.finish(Status::Aborted, None, error, cause, now);
        }
    }

    fn time_out(&mut self, now: Moment) {
        let cause = "the execution ran longer than its time-out".to_owned();
        self.finish(
            Status::TimedOut,
            None,
            Some(TIMEOUT.to_owned()),
            Some(cause),
            now,
        );
    }

    fn answered(&mut self, token: Token) -> Result<Visit, Stale> {
        match self.take_phase() {
            Phase::Task(visit, running) if running.token == token => Ok(visit),
            other => {
                self.phase = other;
                Err(Stale(token))
            }
        }
    }

    /// Leaves a placeholder; every caller puts a phase back.
    fn take_phase(&mut self) -> Phase {
        let nowhere = Visit::new("", Value::Null, Moment(0));
        std::mem::replace(&mut self.phase, Phase::Wait(nowhere, Moment(i64::MAX)))
    }

    pub(crate) fn finish(
        &mut self,
        status: Status,
        output: Option<Value>,
        error: Option<String>,
        cause: Option<String>,
        now: Moment,
    ) {
        let kind = match status {
            Status::Succeeded => EventKind::ExecutionSucceeded,
            Status::Failed => EventKind::ExecutionFailed,
            Status::TimedOut => EventKind::ExecutionTimedOut,
            Status::Aborted => EventKind::ExecutionAborted,
        };
        self.push(kind, None, error.clone(), cause.clone(), now);
        self.phase = Phase::Finished(Outcome {
            status,
            output,
            error,
            cause,
        });
    }

    /// Whether only the terminal event still fits.
    pub(crate) fn history_is_full(&self) -> bool {
        self.events + 1 >= HISTORY_EVENTS_MAX
    }

    pub(crate) fn record(&mut self, kind: EventKind, state: Option<&str>, now: Moment) {
        if !self.history_is_full() {
            self.push(kind, state, None, None, now);
        }
    }

    pub(crate) fn record_fault(
        &mut self,
        kind: EventKind,
        state: &str,
        fault: &Fault,
        now: Moment,
    ) {
        if !self.history_is_full() {
            let (error, cause) = (fault.error.clone(), fault.cause.clone());
            self.push(kind, Some(state), Some(error), Some(cause), now);
        }
    }

    fn push(
        &mut self,
        kind: EventKind,
        state: Option<&str>,
        error: Option<String>,
        cause: Option<String>,
        at: Moment,
    ) {
        self.events += 1;
        self.fresh.push(Event {
            id: self.events,
            at,
            kind,
            state: state.map(str::to_owned),
            error,
            cause,
        });
    }
}

impl Visit {
    pub(crate) fn new(state: &str, input: Value, entered: Moment) -> Self {
        Self {
            state: state.to_owned(),
            input,
            entered,
            retries: Vec::new(),
        }
    }
}

fn check_name(name: &str) -> Result<(), StartError> {
    let forbidden =
        |c: char| c.is_whitespace() || c.is_control() || "<>{}[]()?*\"#%\\^|~`$&,;:/".contains(c);
    let length = name.chars().count();
    if length == 0 || length > NAME_CHARACTERS_MAX || name.contains(forbidden) {
        return Err(StartError::Name(name.to_owned()));
    }
    Ok(())
}
