//! Why a step cannot go on: a stable name, one line, a hint. It becomes the `StepFailure` of the step's result.

use pipeline::report::StepFailure;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}: {message}")]
pub struct Failure {
    /// A stable name: `NeedsReseed`, `DuplicateKeys`, `SourceUnreachable` ...
    pub error: &'static str,
    pub message: String,
    pub hint: Option<String>,
    /// What lies underneath, outermost first; never a secret.
    pub causes: Vec<String>,
}

impl Failure {
    pub fn new(error: &'static str, message: impl Into<String>) -> Self {
        Self {
            error,
            message: message.into(),
            hint: None,
            causes: Vec::new(),
        }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Keeps what lies underneath, with all of its own sources.
    pub fn caused_by(mut self, cause: &(dyn std::error::Error + 'static)) -> Self {
        let mut next = Some(cause);
        while let Some(error) = next {
            self.causes.push(error.to_string());
            next = error.source();
        }
        self
    }

    /// All of it for a person: what, why, and what helps.
    pub fn text(&self) -> String {
        let mut lines = vec![format!("error: {self}")];
        lines.extend(self.causes.iter().map(|cause| format!("  {cause}")));
        lines.extend(self.hint.iter().map(|hint| format!("hint: {hint}")));
        lines.join("\n")
    }
}

impl From<Failure> for StepFailure {
    fn from(failure: Failure) -> Self {
        Self {
            error: failure.error.to_owned(),
            message: failure.message,
            hint: failure.hint,
            root_cause: failure.causes,
        }
    }
}
