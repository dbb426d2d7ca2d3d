//! The cluster of a plan: the RunJobFlow request of the EMR API, without a name and without steps.

use crate::config::pipeline::{EmrConfig, RELEASE_HINT, Worker, release_fault};
use crate::deployment::{Aws, ClusterSettings, Deployment};
use crate::plan::{ClusterSpec, Engine};
use crate::planning::{Scope, needed};
use crate::problem::Problem;
use crate::steps::Steps;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Minutes without work after which a cluster ends by itself.
const IDLE_MINUTES: u32 = 15;

/// The cluster, or what the pipeline's item lacks for one.
pub fn plan(scope: &Scope, steps: &Steps, problems: &mut Vec<Problem>) -> ClusterSpec {
    let emr = scope.pipeline.emr.clone().unwrap_or_default();
    let step_concurrency = emr.step_parallelism.unwrap_or(1);
    let idle_timeout_seconds = emr.idle_timeout_minutes.unwrap_or(IDLE_MINUTES) * 60;
    let run_job_flow = match &scope.deployment.aws {
        None => Value::Null,
        Some(aws) => {
            let shape = match needs_spark(scope, steps) {
                true => spark_shape(scope, &emr, problems),
                false => native_shape(scope, &emr, aws, problems),
            };
            sorted(request(
                scope,
                aws,
                &emr,
                shape,
                step_concurrency,
                idle_timeout_seconds,
            ))
        }
    };
    ClusterSpec {
        step_concurrency,
        idle_timeout_seconds,
        run_job_flow,
    }
}

fn needs_spark(scope: &Scope, steps: &Steps) -> bool {
    let stepwise = steps
        .planned
        .iter()
        .any(|step| step.engine == Engine::Spark);
    stepwise || (steps.planned.is_empty() && scope.engine() == Engine::Spark)
}

/// What differs between a Spark cluster and the one machine of a native pipeline.
struct Shape {
    release_label: String,
    primary: String,
    workers: Option<Workers>,
    applications: &'static [&'static str],
}

struct Workers {
    worker: Worker,
    count: u32,
}

fn spark_shape(scope: &Scope, emr: &EmrConfig, problems: &mut Vec<Problem>) -> Shape {
    let hint = "the spark engine runs on an EMR cluster; the native one does without";
    let mut text = |value: &Option<String>, path: &str, expected: &str| match value {
        Some(value) => value.clone(),
        None => {
            problems.push(needed(
                scope.name,
                &format!("emr_config.{path}"),
                expected,
                hint,
            ));
            String::new()
        }
    };
    let release_label = text(
        &emr.release_label,
        "release_label",
        "a release such as `emr-7.13.0`",
    );
    let primary = text(
        &emr.master_instance_type,
        "master.instance_type",
        "an EC2 instance type",
    );
    if emr.worker.instance_types.is_empty() {
        text(
            &emr.worker.instance_type,
            "worker.instance_type",
            "an EC2 instance type",
        );
    }
    if emr.worker.count.is_none() {
        problems.push(needed(
            scope.name,
            "emr_config.worker.count",
            "an integer from 1 to 1000",
            hint,
        ));
    }
    check_release(scope, emr.release_label.as_deref(), problems);
    Shape {
        release_label,
        primary,
        workers: Some(Workers {
            worker: emr.worker.clone(),
            count: emr.worker.count.unwrap_or(1),
        }),
        applications: &["Hadoop", "Hive", "Spark"],
    }
}

fn native_shape(scope: &Scope, emr: &EmrConfig, aws: &Aws, problems: &mut Vec<Problem>) -> Shape {
    check_release(scope, emr.release_label.as_deref(), problems);
    let settings = &aws.cluster;
    Shape {
        release_label: emr
            .release_label
            .clone()
            .unwrap_or_else(|| settings.native_release_label.clone()),
        primary: emr
            .master_instance_type
            .clone()
            .unwrap_or_else(|| settings.native_instance_type.clone()),
        workers: None,
        applications: &["Hadoop"],
    }
}

/// Older releases parse, so that all of a table can be read; a plan refuses them.
fn check_release(scope: &Scope, label: Option<&str>, problems: &mut Vec<Problem>) {
    let Some(fault) = label.and_then(release_fault) else {
        return;
    };
    let key = crate::key::ConfigKey::Pipeline(scope.name.clone()).to_string();
    problems.push(Problem::fault(&key, "emr_config.release_label", fault).hint(RELEASE_HINT));
}

fn request(
    scope: &Scope,
    aws: &Aws,
    emr: &EmrConfig,
    shape: Shape,
    step_concurrency: u32,
    idle_timeout_seconds: u32,
) -> Value {
    let settings = &aws.cluster;
    let mut request = json!({
        "ReleaseLabel": shape.release_label,
        "Applications": shape.applications.iter().map(|name| json!({"Name": name})).collect::<Vec<_>>(),
        "Configurations": configurations(emr, &shape),
        "Instances": instances(settings, &shape),
        "AutoTerminationPolicy": {"IdleTimeout": idle_timeout_seconds},
        "StepConcurrencyLevel": step_concurrency,
        "BootstrapActions": [bootstrap(&scope.deployment.name, aws)],
        "JobFlowRole": settings.instance_profiles.of(scope.name.kind()),
        "ServiceRole": settings.service_role,
        "LogUri": settings.log_uri,
        "Tags": tags(scope, settings),
        "VisibleToAllUsers": true,
    });
    if let Some(name) = &settings.security_configuration {
        request["SecurityConfiguration"] = json!(name);
    }
    if let (Some(scaling), Some(workers)) = (emr.managed_scaling, &shape.workers) {
        let unit = if is_fleet(&workers.worker) {
            "InstanceFleetUnits"
        } else {
            "Instances"
        };
        request["ManagedScalingPolicy"] = json!({"ComputeLimits": {
            "UnitType": unit,
            "MinimumCapacityUnits": scaling.minimum,
            "MaximumCapacityUnits": scaling.maximum,
        }});
    }
    request
}

fn configurations(emr: &EmrConfig, shape: &Shape) -> Value {
    if shape.workers.is_none() {
        return json!([]);
    }
    let glue = "com.amazonaws.glue.catalog.metastore.AWSGlueDataCatalogHiveClientFactory";
    let metastore = json!({"hive.metastore.client.factory.class": glue});
    json!([
        {"Classification": "hive-site", "Properties": metastore},
        {"Classification": "spark", "Properties": {
            "maximizeResourceAllocation": emr.maximize_resource_allocation.to_string(),
        }},
        {"Classification": "spark-hive-site", "Properties": metastore},
    ])
}

/// Spot, or a choice of types, needs a fleet.
fn is_fleet(worker: &Worker) -> bool {
    !worker.instance_types.is_empty() || worker.spot_percent > 0
}

fn instances(settings: &ClusterSettings, shape: &Shape) -> Value {
    let mut instances = json!({
        "KeepJobFlowAliveWhenNoSteps": true,
        "TerminationProtected": false,
    });
    match &shape.workers {
        Some(workers) if is_fleet(&workers.worker) => {
            instances["Ec2SubnetIds"] = json!(settings.subnets);
            instances["InstanceFleets"] = fleets(&shape.primary, workers);
        }
        workers => {
            instances["Ec2SubnetId"] = json!(settings.subnets.first());
            instances["InstanceGroups"] = groups(&shape.primary, workers.as_ref());
        }
    }
    if let Some(groups) = &settings.security_groups {
        instances["EmrManagedMasterSecurityGroup"] = json!(groups.primary);
        instances["EmrManagedSlaveSecurityGroup"] = json!(groups.core);
        if let Some(group) = &groups.service_access {
            instances["ServiceAccessSecurityGroup"] = json!(group);
        }
    }
    instances
}

fn groups(primary: &str, workers: Option<&Workers>) -> Value {
    let group = |role: &str, kind: &str, count: u32| {
        json!({"Name": role.to_lowercase(), "InstanceRole": role, "InstanceType": kind,
            "InstanceCount": count, "Market": "ON_DEMAND"})
    };
    let mut groups = vec![group("MASTER", primary, 1)];
    if let Some(workers) = workers {
        let kind = workers.worker.instance_type.as_deref().unwrap_or_default();
        groups.push(group("CORE", kind, workers.count));
    }
    Value::Array(groups)
}

/// The primary is never Spot: losing it loses the cluster. At least one worker is on demand too, for HDFS.
fn fleets(primary: &str, workers: &Workers) -> Value {
    let spot = (workers.count * workers.worker.spot_percent / 100).min(workers.count - 1);
    let mut types: Vec<&String> = workers.worker.instance_type.iter().collect();
    types.extend(&workers.worker.instance_types);
    types.sort();
    types.dedup();
    let configs: Vec<Value> = types
        .into_iter()
        .map(|name| json!({"InstanceType": name, "WeightedCapacity": 1}))
        .collect();
    json!([
        {"Name": "master", "InstanceFleetType": "MASTER", "TargetOnDemandCapacity": 1,
            "InstanceTypeConfigs": [{"InstanceType": primary}]},
        {"Name": "core", "InstanceFleetType": "CORE", "TargetOnDemandCapacity": workers.count - spot,
            "TargetSpotCapacity": spot, "InstanceTypeConfigs": configs,
            "LaunchSpecifications": {
                "OnDemandSpecification": {"AllocationStrategy": "lowest-price"},
                "SpotSpecification": {"AllocationStrategy": "price-capacity-optimized",
                    "TimeoutAction": "SWITCH_TO_ON_DEMAND", "TimeoutDurationMinutes": 15},
            }},
    ])
}

/// The bootstrap script fetches the worker of its machine and checks its sum before anything runs. Its arguments are what the
/// worker finds its stack by, then three for each kind of machine, as `uname -m` names it.
fn bootstrap(stack: &str, aws: &Aws) -> Value {
    let artifacts = &aws.artifacts;
    let workers = [
        ("aarch64", &artifacts.worker_aarch64),
        ("x86_64", &artifacts.worker_x86_64),
    ];
    let arguments: Vec<&str> =
        [stack, &aws.region, &aws.ledger_table]
            .into_iter()
            .chain(workers.iter().flat_map(|(machine, worker)| {
                [*machine, worker.sha256.as_str(), worker.uri.as_str()]
            }))
            .collect();
    json!({"Name": "headwater", "ScriptBootstrapAction": {
        "Path": aws.artifacts.bootstrap.uri,
        "Args": arguments,
    }})
}

/// EMR's managed service policy acts only on clusters that carry its tag.
fn tags(scope: &Scope, settings: &ClusterSettings) -> Value {
    let mut tags = settings.tags.clone();
    for (name, value) in [
        ("for-use-with-amazon-emr-managed-policies", "true"),
        ("headwater:identifier", &scope.request.identifier),
        ("headwater:pipeline", scope.name.as_str()),
        ("headwater:stack", &scope.deployment.name),
    ] {
        tags.insert(name.to_owned(), value.to_owned());
    }
    tags.iter()
        .map(|(name, value)| json!({"Key": name, "Value": value}))
        .collect()
}

/// Sums of the code that will run, by name.
pub fn code(deployment: &Deployment) -> BTreeMap<String, String> {
    let Some(aws) = &deployment.aws else {
        return BTreeMap::new();
    };
    let artifacts = &aws.artifacts;
    [
        ("bootstrap", &artifacts.bootstrap),
        ("jdbc_driver", &artifacts.jdbc_driver),
        ("jdbc_load", &artifacts.jdbc_load),
        ("worker_aarch64", &artifacts.worker_aarch64),
        ("worker_x86_64", &artifacts.worker_x86_64),
    ]
    .into_iter()
    .map(|(name, artifact)| (name.to_owned(), artifact.sha256.clone()))
    .collect()
}

/// Names sorted at every level, also where serde_json keeps the order of insertion.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let entries: BTreeMap<String, Value> = map
                .into_iter()
                .map(|(name, value)| (name, sorted(value)))
                .collect();
            Value::Object(entries.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(values) => values.into_iter().map(sorted).collect(),
        other => other,
    }
}
