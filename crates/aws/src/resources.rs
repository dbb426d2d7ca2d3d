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

/// The variables that the Lambda of each task needs: these, and no others, are in its environment.
pub const NEEDS: [(&str, &[&str]); 10] = [
    (
        "read-config",
        &[
            "HEADWATER_STACK",
            "HEADWATER_CONFIG_TABLE",
            "HEADWATER_LEDGER_TABLE",
            "HEADWATER_TOPIC",
            "HEADWATER_ARTIFACTS",
            "HEADWATER_ZONES",
            "HEADWATER_CLUSTER",
            "HEADWATER_SUBNETS",
        ],
    ),
    ("admit", &["HEADWATER_STACK", "HEADWATER_LEDGER_TABLE"]),
    ("discover", &["HEADWATER_STACK", "HEADWATER_LEDGER_TABLE"]),
    (
        "build-cluster",
        &["HEADWATER_STACK", "HEADWATER_LEDGER_TABLE"],
    ),
    (
        "submit-steps",
        &["HEADWATER_STACK", "HEADWATER_LEDGER_TABLE"],
    ),
    (
        "check-status",
        &["HEADWATER_STACK", "HEADWATER_LEDGER_TABLE"],
    ),
    ("finish", &["HEADWATER_STACK", "HEADWATER_LEDGER_TABLE"]),
    (
        "notify",
        &[
            "HEADWATER_STACK",
            "HEADWATER_LEDGER_TABLE",
            "HEADWATER_TOPIC",
        ],
    ),
    (
        "next-pipeline",
        &[
            "HEADWATER_STACK",
            "HEADWATER_LEDGER_TABLE",
            "HEADWATER_STATE_MACHINE",
        ],
    ),
    (
        "sweep",
        &[
            "HEADWATER_STACK",
            "HEADWATER_LEDGER_TABLE",
            "HEADWATER_STATE_MACHINE",
            "HEADWATER_TOPIC",
        ],
    ),
];

/// The variables that a worker needs: the bootstrap script of its cluster sets them.
pub const WORKER_NEEDS: &[&str] = &["HEADWATER_STACK", "HEADWATER_LEDGER_TABLE"];

/// The variables that a task needs.
pub fn needs(task: &str) -> &'static [&'static str] {
    NEEDS
        .iter()
        .find(|(name, _)| *name == task)
        .map_or(&[], |(_, variables)| variables)
}

/// All that is wrong with an environment, a line for each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct EnvironmentError(pub Vec<String>);

impl Resources {
    /// From an environment's variables. Those that are not needed stay empty, whether they are set or not.
    pub fn from_environment(
        needed: &[&str],
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, EnvironmentError> {
        let mut mistakes = Vec::new();
        let mut text = |name: &str| match needed.contains(&name).then(|| variable(name)) {
            None => String::new(),
            Some(Some(value)) if !value.is_empty() => value,
            Some(_) => {
                mistakes.push(format!("`{name}` is not set"));
                String::new()
            }
        };
        let (zones, cluster) = (text("HEADWATER_ZONES"), text("HEADWATER_CLUSTER"));
        let subnets = text("HEADWATER_SUBNETS");
        let mut resources = Self {
            stack: text("HEADWATER_STACK"),
            config_table: text("HEADWATER_CONFIG_TABLE"),
            ledger_table: text("HEADWATER_LEDGER_TABLE"),
            state_machine: text("HEADWATER_STATE_MACHINE"),
            topic: text("HEADWATER_TOPIC"),
            artifacts: text("HEADWATER_ARTIFACTS"),
            zones: Value::Null,
            cluster: Value::Null,
            subnets: subnets
                .split(',')
                .filter(|subnet| !subnet.is_empty())
                .map(str::to_owned)
                .collect(),
        };
        let mut json = |name: &str, text: &str| match serde_json::from_str(text) {
            Ok(value) => value,
            Err(_) if text.is_empty() => Value::Null,
            Err(error) => {
                mistakes.push(format!("`{name}` is not JSON: {error}"));
                Value::Null
            }
        };
        resources.zones = json("HEADWATER_ZONES", &zones);
        resources.cluster = json("HEADWATER_CLUSTER", &cluster);
        if mistakes.is_empty() {
            Ok(resources)
        } else {
            Err(EnvironmentError(mistakes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        Some(match name {
            "HEADWATER_ZONES" => r#"{"bronze": "s3://bronze"}"#.to_owned(),
            "HEADWATER_CLUSTER" => "{}".to_owned(),
            "HEADWATER_SUBNETS" => "subnet-1,subnet-2".to_owned(),
            other => other.to_lowercase(),
        })
    }

    #[test]
    fn every_task_is_told_what_it_needs_and_nothing_else() {
        let named: Vec<&str> = NEEDS.iter().map(|(task, _)| *task).collect();
        assert_eq!(named, tasks::TASKS);
        for (task, needed) in NEEDS {
            assert!(needed.iter().all(|name| VARIABLES.contains(name)), "{task}");
            let resources = Resources::from_environment(needed, environment).expect("all is there");
            assert_eq!(resources.ledger_table, "headwater_ledger_table");
            assert_eq!(
                resources.topic.is_empty(),
                !needed.contains(&"HEADWATER_TOPIC"),
                "{task}"
            );
        }
        let resources =
            Resources::from_environment(needs("read-config"), environment).expect("all is there");
        assert_eq!(resources.subnets, ["subnet-1", "subnet-2"]);
        assert_eq!(resources.zones["bronze"], "s3://bronze");
    }

    #[test]
    fn everything_that_is_missing_or_malformed_is_named_at_once() {
        let broken = |name: &str| (name == "HEADWATER_ZONES").then(|| "{".to_owned());
        let error = Resources::from_environment(needs("read-config"), broken)
            .expect_err("nothing is there");
        assert_eq!(error.0.len(), needs("read-config").len(), "{error}");
        assert!(error.to_string().contains("`HEADWATER_SUBNETS` is not set"));
        assert!(error.to_string().contains("`HEADWATER_ZONES` is not JSON"));
    }
}
