//! One test binary: what several crates, or the built programs, must do together.

mod contract;
mod definition;
mod golden;
mod invariants;
mod judge;
mod kill;
mod lambda;
mod mistakes;
mod moto;
mod permissions;
mod programs;
mod replayed;
mod runtime_api;
mod scenarios;
mod scene;
mod template;
mod tidy;
mod wire;
