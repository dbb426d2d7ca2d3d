//! `plan()`: everything that a run will do, from items, deployment and request, and from nothing else.

use crate::cluster;
use crate::config::cross::{chain, circle, next_cycle};
use crate::config::database::Database;
use crate::config::pipeline::Pipeline;
use crate::config::{self, Config, identifier_of};
use crate::deployment::Deployment;
use crate::key::{ConfigKey, PipelineName};
use crate::normal;
use crate::path::TableName;
use crate::plan::{
    Capture, CaptureKind, Engine, FaultyStep, Next, Notify, OnStepFailure, PLAN_SCHEMA_VERSION,
    PipelineKind, Plan, Policy, Source, Target,
};
use crate::problem::{Found, Problem, nearest};
use crate::steps::{self, Steps};
use crate::value::list;
use serde_json::Value;
use std::collections::BTreeMap;

/// What somebody wants planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRequest {
    pub identifier: String,
    pub pipeline: String,
    /// For all steps, whatever the items say.
    pub engine: Option<Engine>,
}

/// What step planning needs to know.
pub struct Scope<'a> {
    pub config: &'a Config,
    pub database: &'a Database,
    pub pipeline: &'a Pipeline,
    pub name: &'a PipelineName,
    pub deployment: &'a Deployment,
    pub zones: crate::path::Zones,
    /// `<db>` in bronze paths.
    pub db: String,
    pub request: &'a PlanRequest,
}

/// Minutes that a run may wait for admission.
const QUEUE_MINUTES: u32 = 60;
/// Minutes without a sign of capture after which it counts as dead.
const CAPTURE_SILENT_MINUTES: u32 = 30;
/// DMS stamps changes with the replication server's clock.
const DMS_SKEW_MINUTES: u32 = 5;

/// Plans a pipeline. A fault in a step's item makes that step faulty; one in the database, the pipeline or the chain of
/// pipelines is an error. Items of other identifiers are left aside; the order of items does not matter.
pub fn plan(
    items: &[Value],
    deployment: &Deployment,
    request: &PlanRequest,
) -> Result<Plan, Vec<Problem>> {
    let own = items_of(items, &request.identifier)?;
    let config = config::parse(&request.identifier, &own, &deployment.spark_conf_opt_outs);
    let name = pipeline_name(&config, &request.pipeline)?;
    let (Some(database), Some(pipeline)) = (&config.database, config.pipelines.get(&name)) else {
        return Err(global_problems(&config, &name));
    };
    let mut problems = global_problems(&config, &name);
    let scope = Scope {
        config: &config,
        database,
        pipeline,
        name: &name,
        deployment,
        zones: deployment.zones_of(&request.identifier),
        db: db(database),
        request,
    };
    let steps = steps::plan(&scope);
    let cluster = cluster::plan(&scope, &steps, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(assemble(&scope, steps, cluster, &own))
}

/// What capture follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    pub source: Source,
    pub zones: crate::path::Zones,
    /// All tables that are enabled, in order of name.
    pub tables: Vec<FollowedTable>,
}

/// A table whose changes are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowedTable {
    pub name: TableName,
    /// Record key of the lake table.
    pub primary_key: Vec<String>,
}

/// The tables of an identifier whose changes are to be captured, and from where: those that are enabled and become lake tables, not
/// those that are only loaded. A fault in a table's item leaves that table as far as it can be told; one in the database item is an error.
pub fn followed(
    items: &[Value],
    deployment: &Deployment,
    identifier: &str,
) -> Result<Followed, Vec<Problem>> {
    let own = items_of(items, identifier)?;
    let config = config::parse(identifier, &own, &deployment.spark_conf_opt_outs);
    let Some(database) = &config.database else {
        return Err(config.problems_of(&ConfigKey::Database).to_vec());
    };
    let tables = config.tables.values().filter_map(|(name, step)| {
        let step = step.as_ref().filter(|step| step.enabled)?;
        let hudi = step.hudi.as_ref()?;
        Some(FollowedTable {
            name: name.clone(),
            primary_key: hudi.primary_key.clone(),
        })
    });
    Ok(Followed {
        source: source(&config, database, deployment, identifier),
        zones: deployment.zones_of(identifier),
        tables: tables.collect(),
    })
}

fn assemble(
    scope: &Scope,
    steps: Steps,
    cluster: crate::plan::ClusterSpec,
    own: &[(usize, &Value)],
) -> Plan {
    let mut writes: Vec<String> = steps
        .planned
        .iter()
        .flat_map(|step| step.writes.iter().cloned())
        .collect();
    writes.sort();
    writes.dedup();
    Plan {
        schema_version: PLAN_SCHEMA_VERSION,
        identifier: scope.request.identifier.clone(),
        pipeline: scope.name.to_string(),
        kind: scope.name.kind(),
        engine: scope.engine(),
        target: scope.deployment.target,
        zones: scope.zones.clone(),
        source: source(
            scope.config,
            scope.database,
            scope.deployment,
            &scope.request.identifier,
        ),
        policy: policy(scope),
        cluster,
        steps: steps.planned,
        faulty: steps.faulty,
        disabled: steps.disabled,
        not_applicable: steps.not_applicable,
        writes,
        next: match &scope.pipeline.next {
            None => Next::Stop,
            Some(next) => Next::Start {
                pipeline: next.pipeline.to_string(),
                on: next.on,
            },
        },
        generation: normal::generation(own.iter().map(|(_, item)| *item)),
        code: cluster::code(scope.deployment),
    }
}

impl Scope<'_> {
    /// The engine of the pipeline as a whole.
    pub fn engine(&self) -> Engine {
        let default = match self.deployment.target {
            Target::Aws => Engine::Spark,
            Target::Local => Engine::Native,
        };
        self.request
            .engine
            .or(self.pipeline.engine)
            .unwrap_or(default)
    }
}

/// The items of one identifier.
fn items_of<'a>(
    items: &'a [Value],
    identifier: &str,
) -> Result<Vec<(usize, &'a Value)>, Vec<Problem>> {
    let mut own = Vec::new();
    let mut problems = Vec::new();
    let mut others: Vec<&str> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match item.get("identifier").and_then(Value::as_str) {
            Some(other) if other == identifier => own.push((index, item)),
            Some(other) => others.push(other),
            None => problems.extend(identifier_of(item, index).err().map(|problem| *problem)),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    if own.is_empty() {
        others.sort_unstable();
        others.dedup();
        let problem = Problem::fault(
            "configuration",
            "identifier",
            format!("is unknown: {identifier}"),
        );
        return Err(vec![problem.hint(
            match nearest(identifier, others.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if others.is_empty() => "there are no items at all".to_owned(),
                None => format!("known: {}", list(&others)),
            },
        )]);
    }
    Ok(own)
}

fn pipeline_name(config: &Config, text: &str) -> Result<PipelineName, Vec<Problem>> {
    let known: Vec<&str> = config.pipelines.keys().map(PipelineName::as_str).collect();
    let name = text.parse::<PipelineName>().ok();
    match name.filter(|name| config.pipelines.contains_key(name)) {
        Some(name) => Ok(name),
        None => {
            let problem = Problem::fault(
                "configuration",
                "pipeline",
                format!("is unknown: {}", text.escape_debug()),
            );
            Err(vec![problem.hint(
                match nearest(text, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if known.is_empty() => "the identifier has no pipeline items".to_owned(),
                    None => format!("known: {}", list(&known)),
                },
            )])
        }
    }
}

/// Mistakes that stop the whole run: in the database, the pipeline, its chain, and in items that cannot be told apart.
fn global_problems(config: &Config, name: &PipelineName) -> Vec<Problem> {
    let own = ConfigKey::Pipeline(name.clone()).to_string();
    let mut problems: Vec<Problem> = config
        .problems
        .iter()
        .filter(|(key, _)| match key.parse::<ConfigKey>() {
            Ok(ConfigKey::Database) => true,
            Ok(ConfigKey::Pipeline(_)) => **key == own,
            Ok(ConfigKey::Table(_) | ConfigKey::Script { .. } | ConfigKey::Generation) => false,
            Err(_) => !steps::is_step_like(key),
        })
        .flat_map(|(_, problems)| problems.clone())
        .collect();
    if let Some(circle) = circle(&chain(config, name)) {
        let problem = next_cycle(name, &circle);
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    problems
}

/// `<db>` in bronze paths.
fn db(database: &Database) -> String {
    let named = database.source_db_name.as_ref();
    named.unwrap_or(&database.target_table_prefix).clone()
}

fn source(
    config: &Config,
    database: &Database,
    deployment: &Deployment,
    identifier: &str,
) -> Source {
    let settings = &database.capture;
    let default = match deployment.target {
        Target::Aws => CaptureKind::Dms,
        Target::Local => CaptureKind::Headwater,
    };
    let kind = settings.kind.unwrap_or(default);
    let skew = match kind {
        CaptureKind::Dms => DMS_SKEW_MINUTES,
        CaptureKind::Headwater | CaptureKind::None => 0,
    };
    let slot = settings.slot.clone();
    Source {
        secret: database.secret.clone(),
        db: db(database),
        capture: Capture {
            kind,
            slot: slot.unwrap_or_else(|| default_slot(identifier)),
            task: settings.task.clone(),
        },
        changes_follow: config.changes_follow(),
        capture_silent_minutes: database
            .capture_silent_minutes
            .unwrap_or(CAPTURE_SILENT_MINUTES),
        clock_skew_minutes: database.clock_skew_minutes.unwrap_or(skew),
    }
}

/// Postgres takes only these characters in the name of a slot, and 63 of them.
pub fn default_slot(identifier: &str) -> String {
    let plain = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9') => c,
        _ => '_',
    };
    let name: String = identifier.chars().map(plain).collect();
    format!("headwater_{name}").chars().take(63).collect()
}

fn policy(scope: &Scope) -> Policy {
    let pipeline = scope.pipeline;
    Policy {
        on_step_failure: pipeline.on_step_failure.unwrap_or(OnStepFailure::Continue),
        notify: pipeline.notify.unwrap_or(Notify::Changes),
        overlap: pipeline.overlap,
        allowed_concurrent: pipeline.allowed_concurrent.clone(),
        timeout_minutes: pipeline
            .timeout_minutes
            .unwrap_or_else(|| timeout_minutes(scope.name.kind())),
        queue_minutes: QUEUE_MINUTES,
    }
}

/// Long enough for the largest tables that were seen, short enough that a hanging run is noticed.
fn timeout_minutes(kind: PipelineKind) -> u32 {
    match kind {
        PipelineKind::JdbcLoad | PipelineKind::SeedHudi => 24 * 60,
        PipelineKind::IncrementalHudi => 6 * 60,
        PipelineKind::ContinuousHudi => 7 * 24 * 60,
        PipelineKind::Custom => 12 * 60,
    }
}

/// Mistakes of step items, by the name under which the step is reported.
pub fn faulty(by_name: BTreeMap<String, Vec<Problem>>) -> Vec<FaultyStep> {
    by_name
        .into_iter()
        .map(|(name, problems)| FaultyStep {
            name,
            problems: problems.iter().map(Problem::to_string).collect(),
        })
        .collect()
}

/// A missing attribute of the pipeline that the plan needs.
pub fn needed(name: &PipelineName, path: &str, expected: &str, hint: &str) -> Problem {
    let key = ConfigKey::Pipeline(name.clone()).to_string();
    Problem::new(&key, path, Found::Missing, expected).hint(hint)
}
