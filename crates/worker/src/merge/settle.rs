//! What a killed merge left: a batch whose commit was made, but not recorded.

use super::Merge;
use crate::failure::Failure;
use crate::hudi;
use crate::silver::{self, Marked};
use pipeline::position::Operation;
use tasks::port::{Clock, Ledger};

impl<L: Ledger + Clock> Merge<'_, L> {
    /// Records the batch of `pending`, if a commit after its base shows that it was applied.
    /// Otherwise it stays pending: the next write rolls back what is half there, and does the whole batch again.
    pub(super) async fn record_finished(&mut self) -> Result<(), Failure> {
        let Some(pending) = self.silver.pending().cloned() else {
            return Ok(());
        };
        if pending.operation != Operation::Merge {
            return Ok(());
        }
        let table = hudi::open(&self.folder).await?;
        let Some(instant) = table.instant_after(pending.base_instant.as_deref()) else {
            return Ok(());
        };
        let size = table.size().await?;
        self.size = Some(size);
        self.check(pending.rows_after, size.rows).await?;
        let position = self.position()?;
        let listed = silver::listed(&self.changes)?;
        let floors = silver::floors(&self.seed.t0, position.applied.as_ref(), &listed);
        let marked = Marked::read(&self.changes, &pending.files, &floors)?;
        self.record(
            &pending.files,
            marked.rows,
            marked.newest.as_ref(),
            Some(instant),
        )
        .await?;
        self.report.rows_after = Some(size.rows);
        self.report.notes.push(format!(
            "{} change files were applied by an attempt that was broken off",
            pending.files.len()
        ));
        Ok(())
    }
}
