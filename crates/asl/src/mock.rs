//! Runs a machine in virtual time, with the answers of its tasks written down beforehand.

use crate::execution::{Action, Execution, Outcome, Start, StartError, TaskRequest};
use crate::history::Event;
use crate::machine::Machine;
use crate::moment::Moment;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// By state: the nth attempt, over the whole run, takes the nth answer; the last one repeats.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Mocks(pub BTreeMap<String, Vec<Mock>>);

/// `{"return": …}` or `{"throw": {"error": …, "cause": …}}`, after some seconds when `after_seconds` says so.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "MockFields")]
pub struct Mock {
    pub answer: Answer,
    pub after_seconds: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Return(Value),
    Throw { error: String, cause: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MockFields {
    #[serde(rename = "return", default, deserialize_with = "present")]
    returns: Option<Value>,
    throw: Option<Throw>,
    #[serde(default)]
    after_seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Throw {
    error: String,
    #[serde(default)]
    cause: String,
}

/// A field that is there with `null` is there.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl TryFrom<MockFields> for Mock {
    type Error = &'static str;

    fn try_from(fields: MockFields) -> Result<Self, Self::Error> {
        let answer = match (fields.returns, fields.throw) {
            (Some(value), None) => Answer::Return(value),
            (None, Some(Throw { error, cause })) => Answer::Throw { error, cause },
            _ => return Err("an answer has either `return` or `throw`"),
        };
        Ok(Self {
            answer,
            after_seconds: fields.after_seconds,
        })
    }
}

/// A run from start to end.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub outcome: Outcome,
    pub history: Vec<Event>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the Task `{0}` runs, and the mocks have no answer for it")]
    NoAnswer(String),
}

/// Runs until the execution has finished. Virtual time only moves to the next moment at which something is due.
pub fn run(machine: &Machine, start: Start, mocks: &Mocks) -> Result<Run, RunError> {
    let mut now = start.now;
    let mut execution = Execution::start(machine, start)?;
    let mut attempts = BTreeMap::new();
    let outcome = loop {
        match execution.action(machine) {
            Action::RunTask(task) => {
                let mock = mocks.answer(&task.state, &mut attempts)?;
                now = mock.give(machine, &mut execution, &task, now);
            }
            Action::WaitUntil(moment) => {
                now = now.max(moment);
                execution.time_passed(machine, now);
            }
            Action::Finished(outcome) => break outcome,
        }
    };
    Ok(Run {
        outcome,
        history: execution.drain_events(),
    })
}

impl Mocks {
    /// The answer to the next attempt of a state.
    pub fn answer(
        &self,
        state: &str,
        attempts: &mut BTreeMap<String, usize>,
    ) -> Result<&Mock, RunError> {
        let no_answer = || RunError::NoAnswer(state.to_owned());
        let answers = self.0.get(state).ok_or_else(no_answer)?;
        let attempt = match attempts.get_mut(state) {
            Some(attempt) => attempt,
            None => attempts.entry(state.to_owned()).or_insert(0),
        };
        let mock = answers.get(*attempt).or(answers.last());
        *attempt += 1;
        mock.ok_or_else(no_answer)
    }
}

impl Mock {
    /// Answers the task, or lets it time out; gives the moment at which that happened.
    pub fn give(
        &self,
        machine: &Machine,
        execution: &mut Execution,
        task: &TaskRequest,
        now: Moment,
    ) -> Moment {
        let answered = now.plus_seconds(self.after_seconds);
        if answered >= task.deadline {
            execution.time_passed(machine, task.deadline);
            return task.deadline;
        }
        let token = task.token;
        // The token is that of the task which is under way, so the answer is never stale.
        let _ = match &self.answer {
            Answer::Return(value) => {
                execution.task_succeeded(machine, token, value.clone(), answered)
            }
            Answer::Throw { error, cause } => {
                execution.task_failed(machine, token, error, cause, answered)
            }
        };
        answered
    }
}
