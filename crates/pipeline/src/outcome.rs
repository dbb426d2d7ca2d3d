//! How a run ended: one word, fixed once.

use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[must_use]
pub enum Outcome {
    /// Every enabled table is done or had nothing to do.
    Succeeded,
    /// Some tables failed.
    Partial,
    Failed,
    Aborted,
    /// Not admitted.
    Skipped,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "SUCCEEDED",
            Self::Partial => "PARTIAL",
            Self::Failed => "FAILED",
            Self::Aborted => "ABORTED",
            Self::Skipped => "SKIPPED",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
