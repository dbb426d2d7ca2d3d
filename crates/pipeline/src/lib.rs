//! Turns items into a plan, step states into progress, and progress into a notice.
//!
//! Pure: no clock, no environment, no I/O, no AWS. Time and settings arrive as values.
//! Modules in the order in which data meets them.

pub mod problem;

pub mod key;

pub mod item;

pub mod value;

pub mod config;

pub mod time;

pub mod seq;

pub mod path;

pub mod plan;

pub mod normal;

pub mod migrate;

pub mod deployment;

pub mod hudi_options;

pub mod native;

pub mod spark;

pub mod steps;

pub mod cluster;

pub mod planning;

pub mod run;

pub mod admission;

pub mod position;

pub mod change_files;

pub mod report;

pub mod progress;

pub mod outcome;

pub mod notice;

pub mod metric;

pub mod next;
