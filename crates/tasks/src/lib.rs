//! What each Lambda does, over ports. No AWS SDK, no `lambda_runtime`, no clock of its own.

pub mod port;
pub mod error;
pub mod record;
pub mod position;
pub mod step;
