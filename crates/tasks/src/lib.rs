//! What each Lambda does, over ports. No AWS SDK, no `lambda_runtime`, no clock of its own.
//! Modules in the order in which a run meets them.

pub mod port;
pub mod limits;
pub mod error;
pub mod record;
pub mod position;
pub mod step;
pub mod state;
pub mod read_config;
pub mod admit;
pub mod discover;
pub mod cluster;
pub mod build_cluster;
pub mod observe;
pub mod submit_steps;
pub mod check_status;
pub mod finish;
pub mod notify;
pub mod next_pipeline;
pub mod sweep;
pub mod control;

use error::TaskError;
use port::{
    Clock, Clusters, ConfigTable, Deployments, Executions, Ledger, Mailer, Metrics, Objects,
};
use serde::Serialize;
use serde_json::Value;
use state::TaskInput;

/// Every task: one word for its state's function, its module, its binary and its event file.
pub const TASKS: [&str; 10] = [
    "read-config",
    "admit",
    "discover",
    "build-cluster",
    "submit-steps",
    "check-status",
    "finish",
    "notify",
    "next-pipeline",
    "sweep",
];

/// What tasks are told beside their ports.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of the stack: what it starts carries it.
    pub stack: String,
    /// Seconds between the first looks at a queue, a cluster and its steps.
    pub poll_seconds: i64,
}

/// Every port.
pub trait Ports:
    Ledger + ConfigTable + Deployments + Objects + Clusters + Executions + Mailer + Metrics + Clock
{
}

impl<T> Ports for T where
    T: Ledger
        + ConfigTable
        + Deployments
        + Objects
        + Clusters
        + Executions
        + Mailer
        + Metrics
        + Clock
{
}

/// Runs a task by its word, JSON in and JSON out, as its Lambda does.
pub async fn dispatch(
    ports: &impl Ports,
    settings: &Settings,
    task: &str,
    input: Value,
) -> Result<Value, TaskError> {
    if task == "sweep" {
        return json(&sweep::run(ports, settings).await?);
    }
    let input: TaskInput = serde_json::from_value(input).map_err(|error| {
        TaskError::BadInput(format!("the input of `{task}` is not of its form: {error}"))
    })?;
    let state = match task {
        "read-config" => read_config::run(ports, &input).await?,
        "admit" => admit::run(ports, settings, &input).await?,
        "discover" => discover::run(ports, &input).await?,
        "build-cluster" => build_cluster::run(ports, &settings.stack, &input).await?,
        "submit-steps" => submit_steps::run(ports, settings, &input).await?,
        "check-status" => check_status::run(ports, settings, &input).await?,
        "finish" => finish::run(ports, settings.poll_seconds, &input).await?,
        "notify" => notify::run(ports, &input).await?,
        "next-pipeline" => next_pipeline::run(ports, &input).await?,
        unknown => return Err(TaskError::BadInput(format!("there is no task `{unknown}`"))),
    };
    json(&state)
}

fn json(value: &impl Serialize) -> Result<Value, TaskError> {
    serde_json::to_value(value).map_err(|error| TaskError::Corrupt(error.to_string()))
}
