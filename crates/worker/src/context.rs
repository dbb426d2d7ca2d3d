//! What every kind of step is given beside its work.

use crate::failure::Failure;

/// Looked at before each commit to a table: whether this attempt may still write.
pub trait Guard {
    /// Fails when the run was cancelled, is no longer listed with its fence, or the ledger cannot be reached.
    fn may_commit(&self) -> impl Future<Output = Result<(), Failure>>;
}

/// Told of work done while a step runs; shown as rows, bytes and rate.
pub trait Progress: Send + Sync {
    /// The number of rows to come, where it is known or estimated.
    fn expect(&self, rows: u64);
    fn add(&self, rows: u64, bytes: u64);
}

/// For callers that show nothing.
pub struct Silent;

impl Progress for Silent {
    fn expect(&self, _rows: u64) {}
    fn add(&self, _rows: u64, _bytes: u64) {}
}
