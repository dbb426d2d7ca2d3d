//! EMR. RunJobFlow and AddJobFlowSteps have no client token: each is sent once, and without an answer it is not known
//! whether it was done. All else may be repeated, and is by the SDK.

use crate::Aws;
use crate::cluster_request;
use crate::error::{code, message, missing, port_error};
use aws_sdk_emr::config::retry::RetryConfig;
use aws_sdk_emr::primitives::DateTime;
use aws_sdk_emr::types::{
    self, ActionOnFailure, HadoopJarStepConfig, StepCancellationOption, StepConfig,
};
use pipeline::plan::ClusterSpec;
use pipeline::time::Timestamp;
use tasks::limits;
use tasks::port::{
    ClusterDescription, ClusterState, ClusterSummary, Clusters, PortError, StepRequest, StepState,
    StepSummary,
};

const SERVICE: &str = "EMR";
/// Runs a program of the primary node as a step.
const COMMAND_RUNNER: &str = "command-runner.jar";
/// Step ids of one CancelSteps request at most.
const CANCEL_STEPS_MAX: usize = 256;

impl Clusters for Aws {
    async fn create_cluster(
        &self,
        name: &str,
        spec: &ClusterSpec,
        tags: &[(String, String)],
    ) -> Result<String, PortError> {
        let request = cluster_request::filled(self.emr().run_job_flow(), name, spec, tags)?;
        let answer = request
            .customize()
            .config_override(once())
            .send()
            .await
            .map_err(|error| port_error(SERVICE, error))?;
        answer
            .job_flow_id
            .ok_or_else(|| missing(SERVICE, "JobFlowId"))
    }

    async fn list_clusters(
        &self,
        created_since: Timestamp,
    ) -> Result<Vec<ClusterSummary>, PortError> {
        let mut pages = self
            .emr()
            .list_clusters()
            .created_after(DateTime::from_millis(created_since.0))
            .into_paginator()
            .items()
            .send();
        let mut clusters = Vec::new();
        while let Some(cluster) = pages.next().await {
            clusters.push(summary(
                cluster.map_err(|error| port_error(SERVICE, error))?,
            )?);
        }
        Ok(clusters)
    }

    async fn describe_cluster(&self, id: &str) -> Result<Option<ClusterDescription>, PortError> {
        let answer = self.emr().describe_cluster().cluster_id(id).send().await;
        match answer {
            Ok(answer) => answer
                .cluster
                .ok_or_else(|| missing(SERVICE, "Cluster"))
                .and_then(description)
                .map(Some),
            Err(error) if is_of_no_cluster(code(&error), message(&error)) => Ok(None),
            Err(error) => Err(port_error(SERVICE, error)),
        }
    }

    async fn add_steps(&self, id: &str, steps: &[StepRequest]) -> Result<Vec<String>, PortError> {
        limits::check_steps(SERVICE, steps)?;
        let configs = steps.iter().map(step_config).collect();
        let answer = self
            .emr()
            .add_job_flow_steps()
            .job_flow_id(id)
            .set_steps(Some(configs))
            .customize()
            .config_override(once())
            .send()
            .await
            .map_err(|error| port_error(SERVICE, error))?;
        answer.step_ids.ok_or_else(|| missing(SERVICE, "StepIds"))
    }

    async fn list_steps(
        &self,
        id: &str,
        states: &[StepState],
    ) -> Result<Vec<StepSummary>, PortError> {
        let states = states.iter().map(|state| word(state).into()).collect();
        let mut pages = self
            .emr()
            .list_steps()
            .cluster_id(id)
            .set_step_states(Some(states).filter(|states: &Vec<_>| !states.is_empty()))
            .into_paginator()
            .items()
            .send();
        let mut steps = Vec::new();
        while let Some(step) = pages.next().await {
            steps.push(step_summary(
                step.map_err(|error| port_error(SERVICE, error))?,
            )?);
        }
        Ok(steps)
    }

    /// An interrupted spark-submit stops its YARN application; a killed one would leave it behind. EMR's word that a step
    /// could not be cancelled is left unread: the step's state, which is looked at again, says the same.
    async fn cancel_steps(&self, id: &str, step_ids: &[String]) -> Result<(), PortError> {
        for some in step_ids.chunks(CANCEL_STEPS_MAX) {
            self.emr()
                .cancel_steps()
                .cluster_id(id)
                .set_step_ids(Some(some.to_vec()))
                .step_cancellation_option(StepCancellationOption::SendInterrupt)
                .send()
                .await
                .map_err(|error| port_error(SERVICE, error))?;
        }
        Ok(())
    }

    /// No plan protects its cluster. One that a person protected meanwhile stays, and EMR's refusal says why.
    async fn terminate_cluster(&self, id: &str) -> Result<(), PortError> {
        self.emr()
            .terminate_job_flows()
            .job_flow_ids(id)
            .send()
            .await
            .map(drop)
            .map_err(|error| port_error(SERVICE, error))
    }
}

/// What must not be sent twice by itself, not even when nothing is heard of it.
fn once() -> aws_sdk_emr::config::Builder {
    aws_sdk_emr::config::Builder::new().retry_config(RetryConfig::disabled())
}

/// EMR has no error of its own for a cluster that it does not know.
fn is_of_no_cluster(code: Option<&str>, message: Option<&str>) -> bool {
    let says = |text: &str| message.is_some_and(|message| message.contains(text));
    code == Some("InvalidRequestException") && (says("is not valid") || says("does not exist"))
}

fn step_config(step: &StepRequest) -> StepConfig {
    let jar = HadoopJarStepConfig::builder()
        .jar(COMMAND_RUNNER)
        .set_args(Some(step.arguments.clone()))
        .build();
    StepConfig::builder()
        .name(&step.name)
        .action_on_failure(ActionOnFailure::Continue)
        .hadoop_jar_step(jar)
        .build()
}

fn summary(cluster: types::ClusterSummary) -> Result<ClusterSummary, PortError> {
    let status = cluster.status.as_ref();
    let created = status
        .and_then(|status| status.timeline.as_ref())
        .and_then(|timeline| timeline.creation_date_time.as_ref())
        .and_then(|created| created.to_millis().ok())
        .ok_or_else(|| missing(SERVICE, "CreationDateTime"))?;
    Ok(ClusterSummary {
        state: cluster_state(status.and_then(|status| status.state.as_ref())),
        created: Timestamp(created),
        id: cluster.id.ok_or_else(|| missing(SERVICE, "Id"))?,
        name: cluster.name.unwrap_or_default(),
    })
}

fn description(cluster: types::Cluster) -> Result<ClusterDescription, PortError> {
    let status = cluster.status.as_ref();
    let reason = status.and_then(|status| status.state_change_reason.as_ref());
    Ok(ClusterDescription {
        state: cluster_state(status.and_then(|status| status.state.as_ref())),
        reason_code: reason
            .and_then(|reason| reason.code.as_ref())
            .map(|code| code.as_str().to_owned()),
        reason: reason
            .and_then(|reason| reason.message.clone())
            .filter(|message| !message.is_empty()),
        id: cluster.id.ok_or_else(|| missing(SERVICE, "Id"))?,
        name: cluster.name.unwrap_or_default(),
    })
}

fn step_summary(step: types::StepSummary) -> Result<StepSummary, PortError> {
    let status = step.status.as_ref();
    Ok(StepSummary {
        state: step_state(status.and_then(|status| status.state.as_ref())),
        failure: status
            .and_then(|status| status.failure_details.as_ref())
            .and_then(failure),
        id: step.id.ok_or_else(|| missing(SERVICE, "Id"))?,
        name: step.name.unwrap_or_default(),
    })
}

/// `<reason>: <message> (<log file>)`, of what is there.
fn failure(details: &types::FailureDetails) -> Option<String> {
    let line = |text: &Option<String>| {
        let words: Vec<&str> = text
            .iter()
            .flat_map(|text| text.split_whitespace())
            .collect();
        Some(words.join(" ")).filter(|line| !line.is_empty())
    };
    let said: Vec<String> = [line(&details.reason), line(&details.message)]
        .into_iter()
        .flatten()
        .collect();
    let log = line(&details.log_file).map(|file| format!("({file})"));
    let parts: Vec<String> = [Some(said.join(": ")).filter(|said| !said.is_empty()), log]
        .into_iter()
        .flatten()
        .collect();
    Some(parts.join(" ")).filter(|text| !text.is_empty())
}

fn cluster_state(state: Option<&types::ClusterState>) -> ClusterState {
    match state {
        Some(types::ClusterState::Starting) => ClusterState::Starting,
        Some(types::ClusterState::Bootstrapping) => ClusterState::Bootstrapping,
        Some(types::ClusterState::Running) => ClusterState::Running,
        Some(types::ClusterState::Waiting) => ClusterState::Waiting,
        Some(types::ClusterState::Terminating) => ClusterState::Terminating,
        Some(types::ClusterState::Terminated) => ClusterState::Terminated,
        Some(types::ClusterState::TerminatedWithErrors) => ClusterState::TerminatedWithErrors,
        Some(other) => ClusterState::Unrecognised(other.as_str().to_owned()),
        None => ClusterState::Unrecognised(String::new()),
    }
}

fn step_state(state: Option<&types::StepState>) -> StepState {
    match state {
        Some(types::StepState::Pending) => StepState::Pending,
        Some(types::StepState::CancelPending) => StepState::CancelPending,
        Some(types::StepState::Running) => StepState::Running,
        Some(types::StepState::Completed) => StepState::Completed,
        Some(types::StepState::Cancelled) => StepState::Cancelled,
        Some(types::StepState::Failed) => StepState::Failed,
        Some(types::StepState::Interrupted) => StepState::Interrupted,
        Some(other) => StepState::Unrecognised(other.as_str().to_owned()),
        None => StepState::Unrecognised(String::new()),
    }
}

fn word(state: &StepState) -> &str {
    match state {
        StepState::Pending => "PENDING",
        StepState::CancelPending => "CANCEL_PENDING",
        StepState::Running => "RUNNING",
        StepState::Completed => "COMPLETED",
        StepState::Cancelled => "CANCELLED",
        StepState::Failed => "FAILED",
        StepState::Interrupted => "INTERRUPTED",
        StepState::Unrecognised(text) => text,
    }
}
