//! One module per command: its `Arguments`, and `run`, which is told the context and answers with the exit code.

pub mod check;
pub mod plan;
pub mod import;
pub mod export;
pub mod diff;
pub mod migrate;
pub mod run;
pub mod resume;
pub mod reload;
pub mod cancel;
pub mod runs;
pub mod show;
pub mod logs;
pub mod sweep;
pub mod capture;
pub mod reconcile;
#[cfg(feature = "aws")]
pub mod schedule;
#[cfg(feature = "aws")]
pub mod artifacts;
pub mod internal;
