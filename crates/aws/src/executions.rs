//! Step Functions. The state machine is known by its plain ARN, without version or alias, and its executions by name below it.

use crate::Aws;
use crate::error::{code, missing, needed, port_error};
use aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput;
use aws_sdk_sfn::types;
use pipeline::time::Timestamp;
use serde_json::Value;
use tasks::limits;
use tasks::port::{ExecutionDescription, ExecutionStatus, Executions, PortError, Started};

const SERVICE: &str = "Step Functions";

impl Executions for Aws {
    /// Asked again with the same input while the first one runs, Step Functions answers as it did the first time: `Now`.
    async fn start_execution(&self, name: &str, input: &Value) -> Result<Started, PortError> {
        limits::check_start(SERVICE, name, input)?;
        let answer = self
            .sfn()
            .start_execution()
            .state_machine_arn(self.state_machine()?)
            .name(name)
            .input(input.to_string())
            .send()
            .await;
        match answer {
            Ok(_) => Ok(Started::Now),
            Err(error) if code(&error) == Some("ExecutionAlreadyExists") => Ok(Started::Before),
            Err(error) => Err(port_error(SERVICE, error)),
        }
    }

    async fn describe_execution(
        &self,
        name: &str,
    ) -> Result<Option<ExecutionDescription>, PortError> {
        let answer = self
            .sfn()
            .describe_execution()
            .execution_arn(execution_arn(self.state_machine()?, name)?)
            .send()
            .await;
        match answer {
            Ok(answer) => description(answer).map(Some),
            Err(error) if code(&error) == Some("ExecutionDoesNotExist") => Ok(None),
            Err(error) => Err(port_error(SERVICE, error)),
        }
    }

    async fn list_running_executions(&self) -> Result<Vec<ExecutionDescription>, PortError> {
        let mut pages = self
            .sfn()
            .list_executions()
            .state_machine_arn(self.state_machine()?)
            .status_filter(types::ExecutionStatus::Running)
            .into_paginator()
            .items()
            .send();
        let mut names = Vec::new();
        while let Some(execution) = pages.next().await {
            names.push(execution.map_err(|error| port_error(SERVICE, error))?.name);
        }
        let mut running = Vec::new();
        // They come newest first. One that ends meanwhile runs no more.
        for name in names.iter().rev() {
            running.extend(
                self.describe_execution(name)
                    .await?
                    .filter(|execution| execution.status == ExecutionStatus::Running),
            );
        }
        Ok(running)
    }
}

impl Aws {
    fn state_machine(&self) -> Result<&str, PortError> {
        let name = &self.resources().state_machine;
        needed(SERVICE, "HEADWATER_STATE_MACHINE", name)
    }
}

/// `arn:…:stateMachine:<machine>` and a name are `arn:…:execution:<machine>:<name>`.
fn execution_arn(state_machine: &str, name: &str) -> Result<String, PortError> {
    match state_machine.split_once(":stateMachine:") {
        Some((account, machine)) if !machine.contains(':') => {
            Ok(format!("{account}:execution:{machine}:{name}"))
        }
        Some(_) | None => Err(PortError::Refused {
            service: SERVICE,
            message: format!(
                "`{state_machine}` is not the ARN of a state machine without version or alias"
            ),
        }),
    }
}

fn description(answer: DescribeExecutionOutput) -> Result<ExecutionDescription, PortError> {
    let started = answer
        .start_date
        .to_millis()
        .map_err(|_| missing(SERVICE, "startDate"))?;
    let input = answer.input.as_deref().unwrap_or("null");
    Ok(ExecutionDescription {
        status: status(&answer.status)?,
        started: Timestamp(started),
        input: serde_json::from_str(input).map_err(|_| missing(SERVICE, "input"))?,
        name: answer.name.ok_or_else(|| missing(SERVICE, "name"))?,
    })
}

/// A status that is not known is no answer: nothing is done about such an execution.
fn status(status: &types::ExecutionStatus) -> Result<ExecutionStatus, PortError> {
    match status {
        // One that waits for its redrive will run again.
        types::ExecutionStatus::Running | types::ExecutionStatus::PendingRedrive => {
            Ok(ExecutionStatus::Running)
        }
        types::ExecutionStatus::Succeeded => Ok(ExecutionStatus::Succeeded),
        types::ExecutionStatus::Failed => Ok(ExecutionStatus::Failed),
        types::ExecutionStatus::TimedOut => Ok(ExecutionStatus::TimedOut),
        types::ExecutionStatus::Aborted => Ok(ExecutionStatus::Aborted),
        other => Err(PortError::Unknown {
            service: SERVICE,
            message: format!("the status `{}` is not known", other.as_str()),
        }),
    }
}
