//! What goes wrong while an execution runs: an error name that Retry and Catch match, and a cause for people.

use serde::{Deserialize, Serialize};

pub const ALL: &str = "States.ALL";
pub const TASK_FAILED: &str = "States.TaskFailed";
pub const TIMEOUT: &str = "States.Timeout";
pub const HEARTBEAT_TIMEOUT: &str = "States.HeartbeatTimeout";
pub const RUNTIME: &str = "States.Runtime";
pub const DATA_LIMIT_EXCEEDED: &str = "States.DataLimitExceeded";
pub const NO_CHOICE_MATCHED: &str = "States.NoChoiceMatched";
pub const RESULT_PATH_MATCH_FAILURE: &str = "States.ResultPathMatchFailure";
pub const INTRINSIC_FAILURE: &str = "States.IntrinsicFailure";

/// An error with its cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub error: String,
    pub cause: String,
}

impl Fault {
    pub fn new(error: &str, cause: impl Into<String>) -> Self {
        Self {
            error: error.to_owned(),
            cause: cause.into(),
        }
    }

    pub(crate) fn runtime(cause: impl Into<String>) -> Self {
        Self::new(RUNTIME, cause)
    }

    pub(crate) fn intrinsic(cause: impl Into<String>) -> Self {
        Self::new(INTRINSIC_FAILURE, cause)
    }

    /// Whether no Retry and no Catch ever applies.
    pub fn is_terminal(&self) -> bool {
        self.error == RUNTIME || self.error == DATA_LIMIT_EXCEEDED
    }

    /// Whether an `ErrorEquals` name covers this error.
    pub fn is_matched_by(&self, name: &str) -> bool {
        if self.is_terminal() {
            return false;
        }
        let timed_out = self.error == TIMEOUT || self.error == HEARTBEAT_TIMEOUT;
        match name {
            ALL => true,
            TASK_FAILED => !timed_out,
            TIMEOUT => timed_out,
            other => other == self.error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_cover_what_step_functions_says() {
        let cases = [
            ("Boom", ALL, true),
            ("Boom", TASK_FAILED, true),
            ("Boom", "Boom", true),
            ("Boom", "Bang", false),
            (TIMEOUT, ALL, true),
            (TIMEOUT, TASK_FAILED, false),
            (HEARTBEAT_TIMEOUT, TIMEOUT, true),
            (RUNTIME, ALL, false),
            (RUNTIME, RUNTIME, false),
            (DATA_LIMIT_EXCEEDED, ALL, false),
            (DATA_LIMIT_EXCEEDED, TASK_FAILED, false),
        ];
        for (error, name, expected) in cases {
            let fault = Fault::new(error, "");
            assert_eq!(fault.is_matched_by(name), expected, "{error} by {name}");
        }
    }
}
