//! One test binary: what several crates, or the built programs, must do together.

mod definition;
mod invariants;
mod kill;
mod ledger_contract;
mod mistakes;
mod programs;
mod scenarios;
mod scene;
mod tidy;
