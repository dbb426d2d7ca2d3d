//! What every kind of native step is told beside its own work.

use crate::failure::Failure;
use crate::secret::Secret;
use pipeline::plan::Plan;
use std::path::Path;

/// One step's run and plan, and where secrets are.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    pub run_id: &'a str,
    pub plan: &'a Plan,
    /// The folder of secrets.
    pub secrets: &'a Path,
}

impl Job<'_> {
    /// The source's secret, read when it is needed.
    pub fn secret(&self) -> Result<Secret, Failure> {
        Secret::read(self.secrets, &self.plan.source.secret)
    }
}
