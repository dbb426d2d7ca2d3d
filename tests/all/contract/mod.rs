//! What every implementation of a port must do.

mod clusters;
pub mod executions;
