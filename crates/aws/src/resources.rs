//! What a stack has, by name: from the environment of a Lambda, from the outputs of a stack, or from a cluster's bootstrap.

use serde_json::Value;

/// Names and ARNs of one stack's resources. No secret is among them.
#[derive(Debug, Clone, PartialEq)]
pub struct Resources {
    pub stack: String,
    pub config_table: String,
    pub ledger_table: String,
    /// ARN of the state machine; executions are known by name below it.
    pub state_machine: String,
    /// ARN of the topic of notices.
    pub topic: String,
    /// Base URI of the artifacts; `<artifacts>/artifacts.json` lists what was pushed.
    pub artifacts: String,
    /// `zones` of the deployment file, as the template writes it.
    pub zones: Value,
    /// `cluster` of the deployment file, without its `subnets`, as the template writes it.
    pub cluster: Value,
    pub subnets: Vec<String>,
}

/// The environment variables of a Lambda, one per resource.
pub const VARIABLES: [&str; 9] = [
    "HEADWATER_STACK",
    "HEADWATER_CONFIG_TABLE",
    "HEADWATER_LEDGER_TABLE",
    "HEADWATER_STATE_MACHINE",
    "HEADWATER_TOPIC",
    "HEADWATER_ARTIFACTS",
    "HEADWATER_ZONES",
    "HEADWATER_CLUSTER",
    "HEADWATER_SUBNETS",
];

/// Variables that a task does not need are not in its environment; naming one that is absent is an error when it is used.
/// All that is wrong with an environment, a line for each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct EnvironmentError(pub Vec<String>);
