//! A stack as a person reaches it: by name, through CloudFormation's outputs, with the credentials of the terminal.

use crate::error::{code, message, port_error};
use crate::resources::Resources;
use crate::{Aws, loader};
use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::config::ProvideCredentials;
use aws_sdk_cloudformation::types::StackStatus;
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;
use tasks::port::PortError;

const SERVICE: &str = "CloudFormation";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(900);

/// The outputs that make a stack one of ours.
pub const OUTPUTS: [&str; 9] = [
    "ConfigTable",
    "LedgerTable",
    "StateMachine",
    "Topic",
    "Artifacts",
    "Zones",
    "Cluster",
    "Subnets",
    "Schedules",
];

/// A stack that was found.
pub struct Stack {
    pub aws: Aws,
    /// Names of its schedules.
    pub schedules: Vec<String>,
    /// What CloudFormation does to it at this moment; `None` when it rests.
    pub under_way: Option<String>,
}

/// Why a stack cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StackError {
    #[error("no AWS region is configured")]
    NoRegion,
    #[error("no AWS credentials can be had: {0}")]
    NoCredentials(String),
    #[error("there is no stack `{name}` in region `{region}`")]
    Absent { name: String, region: String },
    #[error("stack `{name}` is {status}{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Unusable {
        name: String,
        status: String,
        reason: Option<String>,
    },
    #[error("stack `{name}` has no output `{}`", missing.join("`, `"))]
    Foreign {
        name: String,
        missing: Vec<&'static str>,
    },
    #[error("output `{output}` of stack `{name}` is not JSON: {fault}")]
    Malformed {
        name: String,
        output: &'static str,
        fault: String,
    },
    #[error(transparent)]
    Port(#[from] PortError),
}

impl StackError {
    /// What helps.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoRegion => Some("set AWS_REGION, or `aws configure`"),
            Self::NoCredentials(_) => Some("`aws configure`, `aws sso login`, or AWS_PROFILE"),
            Self::Absent { .. } => {
                Some("`sam deploy` makes it; AWS_REGION or AWS_PROFILE may name another place")
            }
            Self::Unusable { .. } => {
                Some("`sam deploy` again, or look at its events in CloudFormation")
            }
            Self::Foreign { .. } => {
                Some("is it a stack of headwater's template, and of this version?")
            }
            Self::Malformed { .. } => Some("deploy the template of this version"),
            Self::Port(_) => None,
        }
    }
}

impl Stack {
    pub async fn find(name: &str) -> Result<Self, StackError> {
        let config = loader().timeout_config(patience()).load().await;
        let region = config
            .region()
            .map(ToString::to_string)
            .ok_or(StackError::NoRegion)?;
        check_credentials(&config).await?;
        let stack = describe(&config, name, &region).await?;
        let outputs: BTreeMap<&str, &str> = stack
            .outputs()
            .iter()
            .filter_map(|output| Some((output.output_key()?, output.output_value()?)))
            .collect();
        let schedules = list(outputs.get("Schedules").copied().unwrap_or_default());
        let resources = resources(name, &outputs);
        let under_way = match standing(stack.stack_status()) {
            Standing::Rests => None,
            Standing::Moves => status(stack.stack_status()),
            Standing::Unusable => {
                return Err(StackError::Unusable {
                    name: name.to_owned(),
                    status: status(stack.stack_status()).unwrap_or_default(),
                    reason: stack.stack_status_reason().map(str::to_owned),
                });
            }
        };
        Ok(Self {
            aws: Aws::new(config, resources?).without_metrics(),
            schedules,
            under_way,
        })
    }
}

/// A person uploads programs over lines that are slower than those of a Lambda, and can stop waiting at any moment.
fn patience() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(UPLOAD_TIMEOUT)
        .build()
}

/// Without them every call would fail, each in its own words.
async fn check_credentials(config: &SdkConfig) -> Result<(), StackError> {
    let Some(provider) = config.credentials_provider() else {
        return Err(StackError::NoCredentials(
            "no source is configured".to_owned(),
        ));
    };
    match provider.provide_credentials().await {
        Ok(_) => Ok(()),
        Err(error) => Err(StackError::NoCredentials(root(&error))),
    }
}

/// The innermost reason.
fn root(error: &dyn Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

async fn describe(
    config: &SdkConfig,
    name: &str,
    region: &str,
) -> Result<aws_sdk_cloudformation::types::Stack, StackError> {
    let absent = || StackError::Absent {
        name: name.to_owned(),
        region: region.to_owned(),
    };
    let answer = Client::new(config)
        .describe_stacks()
        .stack_name(name)
        .send()
        .await;
    match answer {
        Ok(answer) => answer
            .stacks
            .and_then(|stacks| stacks.into_iter().next())
            .ok_or_else(absent),
        // CloudFormation has no error of its own for this.
        Err(error)
            if code(&error) == Some("ValidationError")
                && message(&error).is_some_and(|message| message.contains("does not exist")) =>
        {
            Err(absent())
        }
        Err(error) => Err(port_error(SERVICE, error).into()),
    }
}

enum Standing {
    Rests,
    /// It was whole before, and is changed now or was left in the middle of a change: what runs in it must stay reachable.
    Moves,
    /// It never was whole, or will be no more.
    Unusable,
}

fn standing(status: Option<&StackStatus>) -> Standing {
    match status {
        Some(
            StackStatus::CreateComplete
            | StackStatus::ImportComplete
            | StackStatus::ImportRollbackComplete
            | StackStatus::UpdateComplete
            | StackStatus::UpdateCompleteCleanupInProgress
            | StackStatus::UpdateRollbackComplete
            | StackStatus::UpdateRollbackCompleteCleanupInProgress,
        ) => Standing::Rests,
        Some(
            StackStatus::ImportInProgress
            | StackStatus::ImportRollbackFailed
            | StackStatus::ImportRollbackInProgress
            | StackStatus::UpdateFailed
            | StackStatus::UpdateInProgress
            | StackStatus::UpdateRollbackFailed
            | StackStatus::UpdateRollbackInProgress,
        ) => Standing::Moves,
        _ => Standing::Unusable,
    }
}

fn status(status: Option<&StackStatus>) -> Option<String> {
    status.map(|status| status.as_str().to_owned())
}

fn resources(name: &str, outputs: &BTreeMap<&str, &str>) -> Result<Resources, StackError> {
    let missing: Vec<&str> = OUTPUTS
        .into_iter()
        .filter(|output| !outputs.contains_key(output))
        .collect();
    if !missing.is_empty() {
        return Err(StackError::Foreign {
            name: name.to_owned(),
            missing,
        });
    }
    let text = |output: &str| outputs.get(output).copied().unwrap_or_default().to_owned();
    Ok(Resources {
        stack: name.to_owned(),
        config_table: text("ConfigTable"),
        ledger_table: text("LedgerTable"),
        state_machine: text("StateMachine"),
        topic: text("Topic"),
        artifacts: text("Artifacts"),
        zones: json(name, "Zones", &text("Zones"))?,
        cluster: json(name, "Cluster", &text("Cluster"))?,
        subnets: list(&text("Subnets")),
    })
}

fn json(name: &str, output: &'static str, text: &str) -> Result<Value, StackError> {
    serde_json::from_str(text).map_err(|error| StackError::Malformed {
        name: name.to_owned(),
        output,
        fault: error.to_string(),
    })
}

fn list(text: &str) -> Vec<String> {
    text.split(',')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}
