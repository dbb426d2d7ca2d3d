//! One test binary: what several crates, or the built programs, must do together.

mod kill;
mod programs;
mod scene;
mod tidy;
