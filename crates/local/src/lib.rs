//! The ports on this machine: SQLite for the ledger, folders for buckets, child processes for steps. No decisions.

pub mod kill;
