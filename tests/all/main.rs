//! One test binary: what several crates, or the built programs, must do together.

mod bootstrap;
mod contract;
mod golden;
mod invariants;
mod judge;
mod kill;
mod mistakes;
mod moto;
mod permissions;
mod programs;
mod replayed;
mod scenarios;
mod scene;
mod template;
mod tidy;
mod wire;
