//! `pipeline::…`: how a pipeline runs.

use crate::key::PipelineName;
use crate::plan::{Engine, NextOn, Notify, OnStepFailure, Overlap};
use crate::problem::{Found, Problem};
use crate::value::Fields;
use serde_json::{Map, Value};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pipeline {
    pub emr: Option<EmrConfig>,
    pub allowed_concurrent: Vec<String>,
    pub next: Option<NextPipeline>,
    pub engine: Option<Engine>,
    pub overlap: Option<Overlap>,
    pub on_step_failure: Option<OnStepFailure>,
    pub notify: Option<Notify>,
    pub timeout_minutes: Option<u32>,
}

/// `next_pipeline`, when it is switched on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextPipeline {
    pub pipeline: PipelineName,
    pub on: NextOn,
}

/// `emr_config`. What spark needs may be absent here: a native pipeline does without.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EmrConfig {
    pub release_label: Option<String>,
    pub master_instance_type: Option<String>,
    pub worker: Worker,
    pub step_parallelism: Option<u32>,
    pub maximize_resource_allocation: bool,
    pub managed_scaling: Option<ManagedScaling>,
    pub idle_timeout_minutes: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Worker {
    pub instance_type: Option<String>,
    pub count: Option<u32>,
    /// Types that EMR may choose among; makes an instance fleet.
    pub instance_types: Vec<String>,
    /// Share of the workers that are Spot.
    pub spot_percent: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManagedScaling {
    pub minimum: u32,
    pub maximum: u32,
}

/// Attributes of the item.
pub const KNOWN: &[&str] = &[
    "identifier",
    "config",
    "emr_config",
    "allowed_concurrent",
    "next_pipeline",
    "engine",
    "overlap",
    "on_step_failure",
    "notify",
    "timeout_minutes",
];
/// Attributes of `emr_config`, and of the objects in it.
pub const KNOWN_EMR: &[&str] = &[
    "release_label",
    "master",
    "worker",
    "step_parallelism",
    "maximize_resource_allocation",
    "managed_scaling",
    "idle_timeout_minutes",
];
pub const KNOWN_MASTER: &[&str] = &["instance_type"];
pub const KNOWN_WORKER: &[&str] = &["instance_type", "count", "instance_types", "spot_percent"];
pub const KNOWN_SCALING: &[&str] = &["minimum", "maximum"];
/// Attributes of `next_pipeline`.
pub const KNOWN_NEXT: &[&str] = &["pipeline_type", "enabled", "on"];

pub const ENGINES: [(&str, Engine); 2] = [("spark", Engine::Spark), ("native", Engine::Native)];
/// The first release whose Hudi (1.0.2) writes the table version that both engines share.
const RELEASE_MINOR_MIN: u32 = 11;
/// What to do about another one.
pub const RELEASE_HINT: &str = "`headwater migrate --release-label emr-7.13.0` rewrites the items";
/// EMR's bound on steps at once.
const STEP_PARALLELISM_MAX: u32 = 256;
/// Workers of one cluster: beyond it a typing error is likelier than a need.
const WORKERS_MAX: u32 = 1000;
/// EMR's bound on the idle time of auto-termination: seven days.
const IDLE_MINUTES_MAX: u32 = 7 * 24 * 60;
/// Thirty days: a continuous pipeline is started anew after it.
const TIMEOUT_MINUTES_MAX: u32 = 30 * 24 * 60;
/// EMR's bound on the instance types of one fleet.
const INSTANCE_TYPES_MAX: usize = 30;

pub fn parse(key: &str, map: &Map<String, Value>, problems: &mut Vec<Problem>) -> Pipeline {
    let fields = Fields::open(key, "", map, KNOWN, problems);
    Pipeline {
        emr: emr(&fields, problems),
        allowed_concurrent: allowed_concurrent(&fields, problems),
        next: next(&fields, problems),
        engine: fields.choice("engine", &ENGINES, problems),
        overlap: fields.choice(
            "overlap",
            &[("skip", Overlap::Skip), ("queue", Overlap::Queue)],
            problems,
        ),
        on_step_failure: fields.choice(
            "on_step_failure",
            &[
                ("continue", OnStepFailure::Continue),
                ("stop", OnStepFailure::Stop),
            ],
            problems,
        ),
        notify: fields.choice(
            "notify",
            &[
                ("all", Notify::All),
                ("changes", Notify::Changes),
                ("failures", Notify::Failures),
            ],
            problems,
        ),
        timeout_minutes: fields.integer("timeout_minutes", 1..=TIMEOUT_MINUTES_MAX, problems),
    }
}

fn emr(fields: &Fields, problems: &mut Vec<Problem>) -> Option<EmrConfig> {
    let emr = fields.object("emr_config", KNOWN_EMR, problems)?;
    let master = emr.object("master", KNOWN_MASTER, problems);
    if let Some(master) = &master {
        master.require("instance_type", "an EC2 instance type", problems);
    }
    Some(EmrConfig {
        release_label: emr.name("release_label", problems),
        master_instance_type: master.and_then(|master| instance_type(&master, problems)),
        worker: worker(&emr, problems),
        step_parallelism: emr.integer("step_parallelism", 1..=STEP_PARALLELISM_MAX, problems),
        maximize_resource_allocation: emr
            .boolean("maximize_resource_allocation", problems)
            .unwrap_or(false),
        managed_scaling: managed_scaling(&emr, problems),
        idle_timeout_minutes: emr.integer("idle_timeout_minutes", 1..=IDLE_MINUTES_MAX, problems),
    })
}

/// Why a release cannot be used.
pub fn release_fault(label: &str) -> Option<String> {
    if label.starts_with("emr-spark-") {
        return Some(format!(
            "is not supported, because its Hudi writes another table version: {label}"
        ));
    }
    let numbers: Option<Vec<u32>> = label
        .strip_prefix("emr-")
        .and_then(|version| version.split('.').map(|part| part.parse().ok()).collect());
    match numbers.as_deref() {
        Some([7, minor, _]) if *minor >= RELEASE_MINOR_MIN => None,
        Some([7, _, _] | [0..=6, _, _]) => Some(format!(
            "is older than `emr-7.11.0`, the first with Hudi 1.0.2: {label}"
        )),
        Some([_, _, _]) => Some(format!("is newer than what was tested, `emr-7.x`: {label}")),
        _ => Some(format!("is not a release such as `emr-7.13.0`: {label}")),
    }
}

fn instance_type(fields: &Fields, problems: &mut Vec<Problem>) -> Option<String> {
    let name = fields.name("instance_type", problems)?;
    if !is_instance_type(&name) {
        let found = Value::String(name);
        problems.push(fields.wrong(
            "instance_type",
            &found,
            "an EC2 instance type such as `m7g.xlarge`",
        ));
        return None;
    }
    Some(name)
}

fn is_instance_type(name: &str) -> bool {
    let fine = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    name.split_once('.')
        .is_some_and(|(family, size)| fine(family) && fine(size))
}

fn worker(emr: &Fields, problems: &mut Vec<Problem>) -> Worker {
    let Some(worker) = emr.object("worker", KNOWN_WORKER, problems) else {
        return Worker::default();
    };
    let instance_types = worker.texts("instance_types", problems).unwrap_or_default();
    for name in &instance_types {
        if !is_instance_type(name) {
            let found = Value::String(name.clone());
            problems.push(worker.wrong(
                "instance_types",
                &found,
                "EC2 instance types such as `m7g.xlarge`",
            ));
        }
    }
    if instance_types.len() > INSTANCE_TYPES_MAX {
        let predicate = format!("names more than {INSTANCE_TYPES_MAX} types");
        problems.push(Problem::fault(
            emr.key,
            worker.path("instance_types"),
            predicate,
        ));
    }
    Worker {
        instance_type: instance_type(&worker, problems),
        count: worker.integer("count", 1..=WORKERS_MAX, problems),
        instance_types,
        spot_percent: worker
            .integer("spot_percent", 0..=100, problems)
            .unwrap_or(0),
    }
}

fn managed_scaling(emr: &Fields, problems: &mut Vec<Problem>) -> Option<ManagedScaling> {
    let scaling = emr.object("managed_scaling", KNOWN_SCALING, problems)?;
    scaling.require("minimum", "the least number of workers", problems);
    scaling.require("maximum", "the greatest number of workers", problems);
    let minimum = scaling.integer("minimum", 1..=WORKERS_MAX, problems);
    let maximum = scaling.integer("maximum", 1..=WORKERS_MAX, problems);
    let (minimum, maximum) = (minimum?, maximum?);
    if minimum > maximum {
        let found = Value::from(minimum);
        problems.push(scaling.wrong(
            "minimum",
            &found,
            format!("at most `maximum`, which is {maximum}"),
        ));
        return None;
    }
    Some(ManagedScaling { minimum, maximum })
}

/// A list of names, or `false`, which existing items write for none.
fn allowed_concurrent(fields: &Fields, problems: &mut Vec<Problem>) -> Vec<String> {
    match fields.raw("allowed_concurrent") {
        None | Some(Value::Bool(false)) => Vec::new(),
        Some(Value::String(text)) if text == "false" => Vec::new(),
        Some(Value::Array(_)) => {
            let mut names = fields
                .texts("allowed_concurrent", problems)
                .unwrap_or_default();
            names.sort();
            names.dedup();
            names
        }
        Some(value) => {
            problems.push(
                fields
                    .wrong(
                        "allowed_concurrent",
                        value,
                        "a list of pipeline names, or `false`",
                    )
                    .hint("name each pipeline that may run beside this one"),
            );
            Vec::new()
        }
    }
}

fn next(fields: &Fields, problems: &mut Vec<Problem>) -> Option<NextPipeline> {
    let next = fields.object("next_pipeline", KNOWN_NEXT, problems)?;
    next.require("enabled", "`true` or `false`", problems);
    next.require("pipeline_type", "the name of a pipeline", problems);
    let enabled = next.boolean("enabled", problems);
    let pipeline = next.text("pipeline_type", problems);
    let on = next.choice(
        "on",
        &[
            ("succeeded", NextOn::Succeeded),
            ("partial", NextOn::Partial),
        ],
        problems,
    );
    let pipeline = match pipeline?.parse::<PipelineName>() {
        Ok(name) => name,
        Err(error) => {
            let path = next.path("pipeline_type");
            problems.push(
                Problem::new(fields.key, path, Found::Fault(error.to_string()), "")
                    .hint(error.hint()),
            );
            return None;
        }
    };
    enabled?.then_some(NextPipeline {
        pipeline,
        on: on.unwrap_or(NextOn::Succeeded),
    })
}
