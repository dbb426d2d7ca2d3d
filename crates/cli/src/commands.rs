//! One module per command: its `Arguments`, and `run`, which is told the context and answers with the exit code.

pub mod check;
pub mod plan;
pub mod import;
pub mod export;
pub mod diff;
pub mod migrate;
