//! The plan's RunJobFlow request as the SDK's. Nothing is dropped in silence: what is not known here is refused by name.

use aws_sdk_emr::operation::run_job_flow::builders::RunJobFlowFluentBuilder;
use aws_sdk_emr::types;
use pipeline::plan::ClusterSpec;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use tasks::port::PortError;

/// Fills a request from the plan's, with a name, and with tags beside the plan's; where both have a key, `tags` wins.
pub fn filled(
    request: RunJobFlowFluentBuilder,
    name: &str,
    spec: &ClusterSpec,
    tags: &[(String, String)],
) -> Result<RunJobFlowFluentBuilder, PortError> {
    let mut plan = RunJobFlow::deserialize(&spec.run_job_flow).map_err(refused)?;
    let more = tags.iter().cloned();
    let tags: BTreeMap<String, String> = std::mem::take(&mut plan.tags)
        .into_iter()
        .map(|tag| (tag.key, tag.value))
        .chain(more)
        .collect();
    Ok(plan
        .fill(request)
        .name(name)
        .set_tags(Some(tags.into_iter().map(tag).collect())))
}

fn refused(error: serde_json::Error) -> PortError {
    PortError::Refused {
        service: "EMR",
        message: format!("`run_job_flow` of the plan is not a request that can be sent: {error}"),
    }
}

fn tag((key, value): (String, String)) -> types::Tag {
    types::Tag::builder().key(key).value(value).build()
}

/// The members of RunJobFlow that plans have.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RunJobFlow {
    release_label: String,
    applications: Vec<Application>,
    configurations: Vec<Configuration>,
    instances: Instances,
    auto_termination_policy: AutoTerminationPolicy,
    managed_scaling_policy: Option<ManagedScalingPolicy>,
    step_concurrency_level: i32,
    bootstrap_actions: Vec<BootstrapAction>,
    job_flow_role: String,
    service_role: String,
    security_configuration: Option<String>,
    log_uri: String,
    tags: Vec<Tag>,
    visible_to_all_users: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Tag {
    key: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Application {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Configuration {
    classification: String,
    properties: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct AutoTerminationPolicy {
    idle_timeout: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ManagedScalingPolicy {
    compute_limits: ComputeLimits,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ComputeLimits {
    unit_type: String,
    minimum_capacity_units: i32,
    maximum_capacity_units: i32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct BootstrapAction {
    name: String,
    script_bootstrap_action: Script,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Script {
    path: String,
    args: Vec<String>,
}

/// Groups in one subnet, or fleets that choose among several.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Instances {
    keep_job_flow_alive_when_no_steps: bool,
    termination_protected: bool,
    ec2_subnet_id: Option<String>,
    instance_groups: Option<Vec<InstanceGroup>>,
    ec2_subnet_ids: Option<Vec<String>>,
    instance_fleets: Option<Vec<InstanceFleet>>,
    emr_managed_master_security_group: Option<String>,
    emr_managed_slave_security_group: Option<String>,
    service_access_security_group: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct InstanceGroup {
    name: String,
    instance_role: String,
    instance_type: String,
    instance_count: i32,
    market: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct InstanceFleet {
    name: String,
    instance_fleet_type: String,
    target_on_demand_capacity: i32,
    target_spot_capacity: Option<i32>,
    instance_type_configs: Vec<InstanceTypeConfig>,
    launch_specifications: Option<LaunchSpecifications>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct InstanceTypeConfig {
    instance_type: String,
    weighted_capacity: Option<i32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct LaunchSpecifications {
    on_demand_specification: OnDemand,
    spot_specification: Spot,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct OnDemand {
    allocation_strategy: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Spot {
    allocation_strategy: String,
    timeout_action: String,
    timeout_duration_minutes: i32,
}

/// Each of them as the SDK has it.
fn all<T: Into<U>, U>(values: Vec<T>) -> Option<Vec<U>> {
    Some(values.into_iter().map(Into::into).collect())
}

impl RunJobFlow {
    fn fill(self, request: RunJobFlowFluentBuilder) -> RunJobFlowFluentBuilder {
        request
            .release_label(self.release_label)
            .set_applications(all(self.applications))
            .set_configurations(all(self.configurations))
            .instances(self.instances.into())
            .auto_termination_policy(self.auto_termination_policy.into())
            .set_managed_scaling_policy(self.managed_scaling_policy.map(Into::into))
            .step_concurrency_level(self.step_concurrency_level)
            .set_bootstrap_actions(all(self.bootstrap_actions))
            .job_flow_role(self.job_flow_role)
            .service_role(self.service_role)
            .set_security_configuration(self.security_configuration)
            .log_uri(self.log_uri)
            .visible_to_all_users(self.visible_to_all_users)
    }
}

impl From<Application> for types::Application {
    fn from(application: Application) -> Self {
        Self::builder().name(application.name).build()
    }
}

impl From<Configuration> for types::Configuration {
    fn from(configuration: Configuration) -> Self {
        Self::builder()
            .classification(configuration.classification)
            .set_properties(Some(configuration.properties))
            .build()
    }
}

impl From<AutoTerminationPolicy> for types::AutoTerminationPolicy {
    fn from(policy: AutoTerminationPolicy) -> Self {
        Self::builder().idle_timeout(policy.idle_timeout).build()
    }
}

impl From<ManagedScalingPolicy> for types::ManagedScalingPolicy {
    fn from(policy: ManagedScalingPolicy) -> Self {
        Self::builder()
            .compute_limits(policy.compute_limits.into())
            .build()
    }
}

impl From<ComputeLimits> for types::ComputeLimits {
    fn from(limits: ComputeLimits) -> Self {
        Self::builder()
            .unit_type(limits.unit_type.as_str().into())
            .minimum_capacity_units(limits.minimum_capacity_units)
            .maximum_capacity_units(limits.maximum_capacity_units)
            .build()
    }
}

impl From<BootstrapAction> for types::BootstrapActionConfig {
    fn from(action: BootstrapAction) -> Self {
        let script = types::ScriptBootstrapActionConfig::builder()
            .path(action.script_bootstrap_action.path)
            .set_args(Some(action.script_bootstrap_action.args))
            .build();
        Self::builder()
            .name(action.name)
            .script_bootstrap_action(script)
            .build()
    }
}

impl From<Instances> for types::JobFlowInstancesConfig {
    fn from(instances: Instances) -> Self {
        Self::builder()
            .keep_job_flow_alive_when_no_steps(instances.keep_job_flow_alive_when_no_steps)
            .termination_protected(instances.termination_protected)
            .set_ec2_subnet_id(instances.ec2_subnet_id)
            .set_instance_groups(instances.instance_groups.and_then(all))
            .set_ec2_subnet_ids(instances.ec2_subnet_ids)
            .set_instance_fleets(instances.instance_fleets.and_then(all))
            .set_emr_managed_master_security_group(instances.emr_managed_master_security_group)
            .set_emr_managed_slave_security_group(instances.emr_managed_slave_security_group)
            .set_service_access_security_group(instances.service_access_security_group)
            .build()
    }
}

impl From<InstanceGroup> for types::InstanceGroupConfig {
    fn from(group: InstanceGroup) -> Self {
        Self::builder()
            .name(group.name)
            .instance_role(group.instance_role.as_str().into())
            .instance_type(group.instance_type)
            .instance_count(group.instance_count)
            .market(group.market.as_str().into())
            .build()
    }
}

impl From<InstanceFleet> for types::InstanceFleetConfig {
    fn from(fleet: InstanceFleet) -> Self {
        Self::builder()
            .name(fleet.name)
            .instance_fleet_type(fleet.instance_fleet_type.as_str().into())
            .target_on_demand_capacity(fleet.target_on_demand_capacity)
            .set_target_spot_capacity(fleet.target_spot_capacity)
            .set_instance_type_configs(all(fleet.instance_type_configs))
            .set_launch_specifications(fleet.launch_specifications.map(Into::into))
            .build()
    }
}

impl From<InstanceTypeConfig> for types::InstanceTypeConfig {
    fn from(config: InstanceTypeConfig) -> Self {
        Self::builder()
            .instance_type(config.instance_type)
            .set_weighted_capacity(config.weighted_capacity)
            .build()
    }
}

impl From<LaunchSpecifications> for types::InstanceFleetProvisioningSpecifications {
    fn from(specifications: LaunchSpecifications) -> Self {
        Self::builder()
            .on_demand_specification(specifications.on_demand_specification.into())
            .spot_specification(specifications.spot_specification.into())
            .build()
    }
}

impl From<OnDemand> for types::OnDemandProvisioningSpecification {
    fn from(specification: OnDemand) -> Self {
        Self::builder()
            .allocation_strategy(specification.allocation_strategy.as_str().into())
            .build()
    }
}

impl From<Spot> for types::SpotProvisioningSpecification {
    fn from(specification: Spot) -> Self {
        Self::builder()
            .allocation_strategy(specification.allocation_strategy.as_str().into())
            .timeout_action(specification.timeout_action.as_str().into())
            .timeout_duration_minutes(specification.timeout_duration_minutes)
            .build()
    }
}
