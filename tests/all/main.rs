//! One test binary: what several crates, or the built programs, must do together.

mod contract;
mod invariants;
mod kill;
mod mistakes;
mod moto;
mod programs;
mod scenarios;
mod scene;
mod stack;
mod tidy;
