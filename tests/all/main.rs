//! One test binary: what several crates, or the built programs, must do together.

mod programs;
mod tidy;
