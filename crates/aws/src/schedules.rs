//! The schedules of a stack: EventBridge Scheduler.

use crate::Aws;
use crate::error::{missing, port_error};
use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::operation::get_schedule::GetScheduleOutput;
use aws_sdk_scheduler::types::ScheduleState;
use serde_json::Value;
use tasks::port::PortError;

const SERVICE: &str = "EventBridge Scheduler";

/// Whether a schedule starts anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    On,
    Off,
}

/// A schedule as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub name: String,
    pub expression: String,
    pub timezone: String,
    pub switch: Switch,
    /// The input of what it starts; null where that is not JSON.
    pub input: Value,
}

impl Aws {
    pub async fn schedule(&self, name: &str) -> Result<Schedule, PortError> {
        read(&self.scheduler(), name)
            .await
            .and_then(|answer| described(&answer))
    }

    /// Turns a schedule on or off; everything else about it stays.
    pub async fn switch_schedule(&self, name: &str, switch: Switch) -> Result<Schedule, PortError> {
        let client = self.scheduler();
        let before = read(&client, name).await?;
        let mut after = described(&before)?;
        if after.switch == switch {
            return Ok(after);
        }
        // What is left out of an update goes back to its default.
        client
            .update_schedule()
            .name(&after.name)
            .set_group_name(before.group_name)
            .set_schedule_expression(before.schedule_expression)
            .set_schedule_expression_timezone(before.schedule_expression_timezone)
            .set_start_date(before.start_date)
            .set_end_date(before.end_date)
            .set_description(before.description)
            .set_kms_key_arn(before.kms_key_arn)
            .set_target(before.target)
            .set_flexible_time_window(before.flexible_time_window)
            .set_action_after_completion(before.action_after_completion)
            .state(match switch {
                Switch::On => ScheduleState::Enabled,
                Switch::Off => ScheduleState::Disabled,
            })
            .send()
            .await
            .map_err(|error| port_error(SERVICE, error))?;
        after.switch = switch;
        Ok(after)
    }

    fn scheduler(&self) -> Client {
        Client::new(&self.config)
    }
}

/// A name, or group and name as CloudFormation refers to one outside the default group.
async fn read(client: &Client, name: &str) -> Result<GetScheduleOutput, PortError> {
    let (group, name) = match name.split_once('|') {
        Some((group, name)) => (Some(group.to_owned()), name),
        None => (None, name),
    };
    client
        .get_schedule()
        .name(name)
        .set_group_name(group)
        .send()
        .await
        .map_err(|error| port_error(SERVICE, error))
}

fn described(answer: &GetScheduleOutput) -> Result<Schedule, PortError> {
    let text = |value: Option<&str>, name| {
        value
            .map(str::to_owned)
            .ok_or_else(|| missing(SERVICE, name))
    };
    let input = answer.target().and_then(|target| target.input());
    Ok(Schedule {
        name: text(answer.name(), "Name")?,
        expression: text(answer.schedule_expression(), "ScheduleExpression")?,
        timezone: answer
            .schedule_expression_timezone()
            .unwrap_or("UTC")
            .to_owned(),
        switch: match answer.state() {
            Some(ScheduleState::Enabled) => Switch::On,
            Some(ScheduleState::Disabled) => Switch::Off,
            other => {
                let state = other.map_or("nothing", |state| state.as_str());
                return Err(PortError::Unknown {
                    service: SERVICE,
                    message: format!("the state `{state}` of a schedule is not known"),
                });
            }
        },
        input: input
            .and_then(|input| serde_json::from_str(input).ok())
            .unwrap_or_default(),
    })
}
