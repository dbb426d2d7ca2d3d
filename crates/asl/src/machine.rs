//! A state machine as it was read: every path parsed, every transition known to lead somewhere.

use crate::choice::Rule;
use crate::intrinsic::Call;
use crate::moment::Moment;
use crate::path::{Path, ReferencePath};
use crate::retry::Retrier;
use crate::template::Template;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    pub start_at: String,
    pub timeout_seconds: Option<u64>,
    pub states: BTreeMap<String, State>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// InputPath.
    pub input: Filter,
    /// OutputPath.
    pub output: Filter,
    pub kind: StateKind,
}

/// InputPath and OutputPath.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    Whole,
    /// `null`: an empty object.
    Nothing,
    Path(Path),
}

#[derive(Debug, Clone, PartialEq)]
pub enum StateKind {
    Task(Box<Task>),
    Choice(Choice),
    Wait(Wait),
    Pass(Pass),
    Succeed,
    Fail(Fail),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    To(String),
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    pub resource: Resource,
    pub parameters: Option<Template>,
    pub result_selector: Option<Template>,
    pub result: ResultPath,
    pub timeout: Option<Seconds>,
    pub heartbeat: Option<Seconds>,
    pub retry: Vec<Retrier>,
    pub catch: Vec<Catcher>,
    pub next: Transition,
}

/// What a Task calls; it decides the names of the history's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    pub name: String,
    pub kind: ResourceKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceKind {
    /// A Lambda function's ARN, or a `${…}` that becomes one.
    LambdaFunction,
    /// An integration that answers when the call returns.
    Integration,
    /// An integration that answers when the job is done (`.sync`).
    IntegrationJob,
}

/// A number of seconds, written down or found in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seconds {
    Fixed(u64),
    At(Path),
}

/// Where a result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResultPath {
    /// `null`: the input is the output.
    Discard,
    To(ReferencePath),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Catcher {
    pub errors: Vec<String>,
    pub result: ResultPath,
    pub next: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    pub rules: Vec<(Rule, String)>,
    pub default: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Wait {
    pub until: Until,
    pub next: Transition,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Until {
    Seconds(Seconds),
    Moment(Moment),
    MomentAt(Path),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Pass {
    pub value: Option<Value>,
    pub parameters: Option<Template>,
    pub result: ResultPath,
    pub next: Transition,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Fail {
    pub error: Option<Text>,
    pub cause: Option<Text>,
}

/// A text, written down or computed.
#[derive(Debug, Clone, PartialEq)]
pub enum Text {
    Fixed(String),
    At(Path),
    Call(Call),
}

impl State {
    /// The states that may follow, by transition, choice or catch.
    pub fn successors(&self) -> Vec<&str> {
        match &self.kind {
            StateKind::Task(task) => task
                .next
                .target()
                .into_iter()
                .chain(task.catch.iter().map(|catcher| catcher.next.as_str()))
                .collect(),
            StateKind::Choice(choice) => choice
                .rules
                .iter()
                .map(|(_, next)| next.as_str())
                .chain(choice.default.as_deref())
                .collect(),
            StateKind::Wait(wait) => wait.next.target().into_iter().collect(),
            StateKind::Pass(pass) => pass.next.target().into_iter().collect(),
            StateKind::Succeed | StateKind::Fail(_) => Vec::new(),
        }
    }
}

impl Transition {
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::To(state) => Some(state),
            Self::End => None,
        }
    }
}
