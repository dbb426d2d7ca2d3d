//! History events, with Step Functions' names.

use crate::machine::{ResourceKind, StateKind};
use crate::moment::Moment;
use serde::{Deserialize, Serialize};

/// One event of an execution's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts from 1.
    pub id: u64,
    pub at: Moment,
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// None for the events of the execution itself.
    pub state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionFailed,
    ExecutionTimedOut,
    ExecutionAborted,
    TaskStateEntered,
    TaskStateExited,
    ChoiceStateEntered,
    ChoiceStateExited,
    WaitStateEntered,
    WaitStateExited,
    PassStateEntered,
    PassStateExited,
    SucceedStateEntered,
    SucceedStateExited,
    FailStateEntered,
    LambdaFunctionScheduled,
    LambdaFunctionStarted,
    LambdaFunctionSucceeded,
    LambdaFunctionFailed,
    LambdaFunctionTimedOut,
    TaskScheduled,
    TaskStarted,
    TaskSubmitted,
    TaskSucceeded,
    TaskFailed,
    TaskTimedOut,
}

impl EventKind {
    pub(crate) fn entered(kind: &StateKind) -> Self {
        match kind {
            StateKind::Task(_) => Self::TaskStateEntered,
            StateKind::Choice(_) => Self::ChoiceStateEntered,
            StateKind::Wait(_) => Self::WaitStateEntered,
            StateKind::Pass(_) => Self::PassStateEntered,
            StateKind::Succeed => Self::SucceedStateEntered,
            StateKind::Fail(_) => Self::FailStateEntered,
        }
    }

    /// A Fail state is never left.
    pub(crate) fn exited(kind: &StateKind) -> Option<Self> {
        match kind {
            StateKind::Task(_) => Some(Self::TaskStateExited),
            StateKind::Choice(_) => Some(Self::ChoiceStateExited),
            StateKind::Wait(_) => Some(Self::WaitStateExited),
            StateKind::Pass(_) => Some(Self::PassStateExited),
            StateKind::Succeed => Some(Self::SucceedStateExited),
            StateKind::Fail(_) => None,
        }
    }

    /// What is recorded when a task is handed out, in order.
    pub(crate) fn begun(resource: ResourceKind) -> &'static [Self] {
        match resource {
            ResourceKind::LambdaFunction => {
                &[Self::LambdaFunctionScheduled, Self::LambdaFunctionStarted]
            }
            ResourceKind::Integration => &[Self::TaskScheduled, Self::TaskStarted],
            ResourceKind::IntegrationJob => {
                &[Self::TaskScheduled, Self::TaskStarted, Self::TaskSubmitted]
            }
        }
    }

    pub(crate) fn succeeded(resource: ResourceKind) -> Self {
        match resource {
            ResourceKind::LambdaFunction => Self::LambdaFunctionSucceeded,
            ResourceKind::Integration | ResourceKind::IntegrationJob => Self::TaskSucceeded,
        }
    }

    pub(crate) fn failed(resource: ResourceKind) -> Self {
        match resource {
            ResourceKind::LambdaFunction => Self::LambdaFunctionFailed,
            ResourceKind::Integration | ResourceKind::IntegrationJob => Self::TaskFailed,
        }
    }

    pub(crate) fn timed_out(resource: ResourceKind) -> Self {
        match resource {
            ResourceKind::LambdaFunction => Self::LambdaFunctionTimedOut,
            ResourceKind::Integration | ResourceKind::IntegrationJob => Self::TaskTimedOut,
        }
    }
}
