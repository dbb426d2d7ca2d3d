//! AWS in memory behind the ports: virtual clock, scripted steps, seeded and named faults. No real time, no I/O.

pub mod world;
pub mod fault;
mod ledger;
mod objects;
pub mod clusters;
mod executions;
mod mail;
pub mod worker;
pub mod machine;

pub use fault::{Effect, Fault};
pub use world::{Seen, World};
