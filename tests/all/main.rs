//! One test binary: what several crates, or the built programs, must do together.

mod ledger_contract;
mod programs;
mod tidy;
