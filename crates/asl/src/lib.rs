//! Amazon States Language, without I/O: reads a definition, says what its execution needs next, and what is unwise about it.
//!
//! Pure: no clock, no randomness of its own, no I/O, no AWS, no knowledge of pipelines. Time and the seed of the jitter are passed in.
//!
//! ```
//! use asl::{Action, Execution, Machine, Moment, Start};
//! use serde_json::json;
//!
//! let machine = Machine::load(&json!({
//!     "StartAt": "Greet",
//!     "States": {"Greet": {"Type": "Task", "Resource": "${Greet}", "End": true}}
//! })).map_err(|errors| errors[0].clone())?;
//! let start = Start { name: "first".into(), input: json!({"who": "you"}), ..Start::default() };
//! let mut execution = Execution::start(&machine, start)?;
//! let Action::RunTask(task) = execution.action(&machine) else { panic!("a task is next") };
//! execution.task_succeeded(&machine, task.token, json!("hello"), Moment(5))?;
//! assert!(matches!(execution.action(&machine), Action::Finished(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod moment;

mod fault;
mod limits;

mod context;
mod intrinsic;
mod path;
mod template;

mod choice;
mod load;
mod machine;
mod retry;

mod execution;
mod history;
mod process;
mod step;

mod lint;
pub mod mock;

pub use context::Identity;
pub use execution::{
    Action, Execution, Outcome, Stale, Start, StartError, Status, TaskRequest, Token,
};
pub use fault::Fault;
pub use history::{Event, EventKind};
pub use limits::{HISTORY_EVENTS_MAX, PAYLOAD_BYTES_MAX};
pub use lint::{Finding, LintOptions, Loop, Rule, lint, loops};
pub use load::LoadError;
pub use machine::Machine;
pub use moment::Moment;
