//! Turns items into a plan, step states into progress, and progress into a notice.
//!
//! Pure: no clock, no environment, no I/O, no AWS. Time and settings arrive as values.
//! Modules in the order in which data meets them.

pub mod time;
pub mod seq;
pub mod path;
pub mod plan;
pub mod run;
pub mod admission;
pub mod position;
pub mod change_files;
pub mod report;
pub mod progress;
pub mod outcome;
pub mod notice;
pub mod next;
