//! What Step Functions tells of an execution's past, for a person.

use crate::Aws;
use crate::error::{code, port_error};
use crate::executions::execution_arn;
use aws_sdk_sfn::types;
use pipeline::time::Timestamp;
use tasks::port::PortError;

const SERVICE: &str = "Step Functions";

/// An event of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEvent {
    pub at: Timestamp,
    /// Step Functions' name of it: `TaskStateEntered`.
    pub kind: String,
    pub state: Option<String>,
    pub error: Option<String>,
    pub cause: Option<String>,
}

impl Aws {
    /// What happened in an execution, in order; nothing when Step Functions has forgotten it, which it does after 90 days.
    pub async fn history_of(&self, execution: &str) -> Result<Vec<HistoryEvent>, PortError> {
        let mut pages = self
            .sfn()
            .get_execution_history()
            .execution_arn(execution_arn(&self.resources().state_machine, execution)?)
            .include_execution_data(false)
            .into_paginator()
            .items()
            .send();
        let mut history = Vec::new();
        while let Some(event) = pages.next().await {
            match event {
                Ok(event) => history.push(described(event)),
                Err(error) if code(&error) == Some("ExecutionDoesNotExist") => break,
                Err(error) => return Err(port_error(SERVICE, error)),
            }
        }
        Ok(history)
    }

    /// The error and cause with which an execution failed.
    pub async fn fault_of(&self, execution: &str) -> Result<Option<(String, String)>, PortError> {
        let answer = self
            .sfn()
            .describe_execution()
            .execution_arn(execution_arn(&self.resources().state_machine, execution)?)
            .send()
            .await;
        match answer {
            Ok(answer) => Ok(answer
                .error
                .map(|error| (error, answer.cause.unwrap_or_default()))),
            Err(error) if code(&error) == Some("ExecutionDoesNotExist") => Ok(None),
            Err(error) => Err(port_error(SERVICE, error)),
        }
    }
}

fn described(event: types::HistoryEvent) -> HistoryEvent {
    let (error, cause) = fault(&event);
    let entered = event
        .state_entered_event_details
        .map(|details| details.name);
    let exited = event.state_exited_event_details.map(|details| details.name);
    HistoryEvent {
        at: Timestamp(event.timestamp.to_millis().unwrap_or_default()),
        kind: event.r#type.as_str().to_owned(),
        state: entered.or(exited),
        error,
        cause,
    }
}

/// Each way to fail has its own details of the same form.
fn fault(event: &types::HistoryEvent) -> (Option<String>, Option<String>) {
    macro_rules! first {
        ($($details:ident)*) => {
            $(if let Some(details) = &event.$details {
                return (details.error.clone(), details.cause.clone());
            })*
        };
    }
    first!(
        task_failed_event_details
        task_timed_out_event_details
        task_start_failed_event_details
        task_submit_failed_event_details
        lambda_function_failed_event_details
        lambda_function_timed_out_event_details
        lambda_function_start_failed_event_details
        lambda_function_schedule_failed_event_details
        execution_failed_event_details
        execution_timed_out_event_details
        execution_aborted_event_details
    );
    (None, None)
}
