//! The closed set of names with which a task fails. A name is the Lambda's `errorType`, which `ErrorEquals` matches.

use crate::port::{PortError, WriteError};

/// What a task answers when it cannot do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// Try again: nothing is known to be wrong with the input.
    #[error("{0}")]
    Transient(String),
    /// Another writer came first: read again and decide anew.
    #[error("{0}")]
    Conflict(String),
    /// The input of the task is not of its form.
    #[error("{0}")]
    BadInput(String),
    /// A service will not do what was asked, however often.
    #[error("{0}")]
    Refused(String),
    /// The configuration changed while it was read.
    #[error("{0}")]
    ConfigMoving(String),
    /// What is stored does not fit its checksum or its schema.
    #[error("{0}")]
    Corrupt(String),
}

impl TaskError {
    /// The stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Transient(_) => "Transient",
            Self::Conflict(_) => "Conflict",
            Self::BadInput(_) => "BadInput",
            Self::Refused(_) => "Refused",
            Self::ConfigMoving(_) => "ConfigMoving",
            Self::Corrupt(_) => "Corrupt",
        }
    }
}

impl From<PortError> for TaskError {
    fn from(error: PortError) -> Self {
        match error {
            PortError::Throttled { .. } | PortError::Unknown { .. } => {
                Self::Transient(error.to_string())
            }
            PortError::Refused { .. } => Self::Refused(error.to_string()),
        }
    }
}

impl From<WriteError> for TaskError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Conflict(_) => Self::Conflict(error.to_string()),
            WriteError::Port(error) => error.into(),
        }
    }
}
