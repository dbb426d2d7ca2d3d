//! The program that runs one step where the data is: native load, seed, merge, capture, reconcile; or spark-submit.
//! No orchestration: what to do comes from the frozen plan, what was done goes to the ledger.

pub mod context;
pub mod job;
pub mod world;
pub mod busy;
pub mod failure;
pub mod secret;
pub mod tally;
pub mod program;
pub mod spark;
pub mod store;
pub mod types;
pub mod source;
pub mod load;
pub mod hudi;
pub mod silver;
pub mod seed;
pub mod merge;
pub mod capture;
pub mod reconcile;
pub mod step;

#[cfg(test)]
pub mod test_postgres;
#[cfg(all(test, feature = "aws"))]
pub mod test_moto;
