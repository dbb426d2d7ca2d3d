//! What every kind of native step is told beside its own work.

use crate::failure::Failure;
use crate::secret::{Secret, Secrets};
use pipeline::plan::Plan;

/// One step's run and plan, and where secrets are.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    pub run_id: &'a str,
    pub plan: &'a Plan,
    pub secrets: Secrets<'a>,
}

impl Job<'_> {
    /// The source's secret, read when it is needed.
    pub async fn secret(&self) -> Result<Secret, Failure> {
        self.secrets.read(&self.plan.source.secret).await
    }
}
