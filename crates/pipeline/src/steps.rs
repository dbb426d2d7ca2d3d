//! The steps of a plan: each table or script as planned, faulty, disabled or not applicable.

use crate::config::cross::{overlap, target_table};
use crate::config::script::ScriptStep;
use crate::config::table::{HudiConfig, TableStep};
use crate::key::{ConfigKey, PipelineName};
use crate::native;
use crate::path::TableName;
use crate::plan::{
    Engine, FaultyStep, NotApplicable, PipelineKind, PlannedStep, StepWork, TableWork,
};
use crate::planning::{Scope, faulty};
use crate::problem::Problem;
use crate::spark;
use std::collections::BTreeMap;

/// What became of the step items of a pipeline.
pub struct Steps {
    pub planned: Vec<PlannedStep>,
    pub faulty: Vec<FaultyStep>,
    pub disabled: Vec<String>,
    pub not_applicable: Vec<NotApplicable>,
}

/// Whether an item that does not parse was meant as a step.
pub fn is_step_like(key: &str) -> bool {
    key.starts_with("step::") || key.starts_with("table::")
}

pub fn plan(scope: &Scope) -> Steps {
    match scope.name {
        PipelineName::Custom(_) => scripts(scope),
        PipelineName::JdbcLoad
        | PipelineName::SeedHudi
        | PipelineName::IncrementalHudi
        | PipelineName::ContinuousHudi => tables(scope),
    }
}

fn tables(scope: &Scope) -> Steps {
    let mut planned = Vec::new();
    let mut faults: BTreeMap<String, Vec<Problem>> = unreadable(scope);
    let mut disabled = Vec::new();
    let mut not_applicable = Vec::new();
    for (name, (table, step)) in &scope.config.tables {
        if step.as_ref().is_some_and(|step| !step.enabled) {
            disabled.push(name.clone());
            continue;
        }
        let problems = scope.config.problems_of(&ConfigKey::Table(table.clone()));
        let Some(step) = step.as_ref().filter(|_| problems.is_empty()) else {
            faults.insert(name.clone(), problems.to_vec());
            continue;
        };
        match one_table(scope, name, table, step) {
            Ok(Some(step)) => planned.push(step),
            Ok(None) => not_applicable.push(NotApplicable {
                name: name.clone(),
                reason: "the item has no `hudi_config`: the table can only be loaded".to_owned(),
            }),
            Err(problems) => {
                faults.insert(name.clone(), problems);
            }
        }
    }
    Steps {
        planned,
        faulty: faulty(faults),
        disabled,
        not_applicable,
    }
}

/// Items that were meant as tables, but whose key says no table.
fn unreadable(scope: &Scope) -> BTreeMap<String, Vec<Problem>> {
    let custom = scope.config.pipelines.keys().filter_map(|name| match name {
        PipelineName::Custom(name) => Some(format!("step::{name}::")),
        _ => None,
    });
    let custom: Vec<String> = custom.collect();
    scope
        .config
        .problems
        .iter()
        .filter(|(key, _)| key.parse::<ConfigKey>().is_err() && is_step_like(key))
        .filter(|(key, _)| match scope.name {
            PipelineName::Custom(name) => key.starts_with(&format!("step::{name}::")),
            _ => !custom.iter().any(|prefix| key.starts_with(prefix)),
        })
        .map(|(key, problems)| (key.clone(), problems.clone()))
        .collect()
}

/// `None`: the pipeline has nothing to do with the table.
fn one_table(
    scope: &Scope,
    name: &str,
    table: &TableName,
    step: &TableStep,
) -> Result<Option<PlannedStep>, Vec<Problem>> {
    let key = format!("step::system::{name}");
    let engine = scope
        .request
        .engine
        .or(step.engine)
        .unwrap_or_else(|| scope.engine());
    let mut notes = Vec::new();
    let loads = scope.zones.loads(&scope.db, table);
    let (work, writes) = match (scope.name.kind(), &step.hudi) {
        (PipelineKind::JdbcLoad, _) => {
            let work = match engine {
                Engine::Native => native::load(scope, &key, table, step, &loads, &mut notes)?,
                Engine::Spark => spark::load(scope, name, table, step, &loads),
            };
            (work, loads)
        }
        (_, None) => return Ok(None),
        (_, Some(hudi)) => {
            let work = table_work(scope, table, step, hudi);
            let silver = work.silver.clone();
            let work = match engine {
                Engine::Native => native::table(&key, scope.name.kind(), hudi, work, &mut notes)?,
                Engine::Spark => spark::table(scope, name, step, hudi, work, &mut notes),
            };
            (work, silver)
        }
    };
    Ok(Some(PlannedStep {
        name: name.to_owned(),
        engine,
        table: Some(table.clone()),
        writes: vec![writes],
        after: Vec::new(),
        work,
        notes,
    }))
}

fn table_work(scope: &Scope, table: &TableName, step: &TableStep, hudi: &HudiConfig) -> TableWork {
    let target = target_table(&scope.database.target_table_prefix, table, step);
    TableWork {
        identifier: scope.request.identifier.clone(),
        source: table.clone(),
        loads: scope.zones.loads(&scope.db, table),
        changes: scope.zones.changes(&scope.db, table),
        silver: scope.zones.silver_table(&target),
        primary_key: hudi.primary_key.clone(),
        partitioning: hudi.partitioning.clone(),
        operation: hudi.operation,
        table_type: hudi.table_type,
        hudi_options: crate::hudi_options::table(&target, hudi),
        target_table: target,
    }
}

fn scripts(scope: &Scope) -> Steps {
    let mut steps = Steps {
        planned: Vec::new(),
        faulty: Vec::new(),
        disabled: Vec::new(),
        not_applicable: Vec::new(),
    };
    let mut faults = unreadable(scope);
    let none = BTreeMap::new();
    let PipelineName::Custom(pipeline) = scope.name else {
        return steps;
    };
    let scripts = scope.config.scripts.get(pipeline).unwrap_or(&none);
    let mut ready: BTreeMap<&String, (&ScriptStep, Vec<String>)> = BTreeMap::new();
    for (name, step) in scripts {
        if step.as_ref().is_some_and(|step| !step.enabled) {
            steps.disabled.push(name.clone());
            continue;
        }
        let key = format!("step::{pipeline}::{name}");
        let own = scope.config.problems.get(&key).cloned().unwrap_or_default();
        let Some(step) = step.as_ref().filter(|_| own.is_empty()) else {
            faults.insert(name.clone(), own);
            continue;
        };
        match resolve_writes(scope, &key, step) {
            Ok(writes) => {
                ready.insert(name, (step, writes));
            }
            Err(problems) => {
                faults.insert(name.clone(), problems);
            }
        }
    }
    fail_what_waits(&mut ready, &mut faults, pipeline.as_str());
    let names: Vec<&String> = ready.keys().copied().collect();
    for (name, (step, writes)) in &ready {
        steps
            .planned
            .push(script(scope, name, step, writes, &names, &steps.disabled));
    }
    steps.faulty = faulty(faults);
    steps
}

/// A step that waits for a faulty one can never start: it is faulty too.
fn fail_what_waits(
    ready: &mut BTreeMap<&String, (&ScriptStep, Vec<String>)>,
    faults: &mut BTreeMap<String, Vec<Problem>>,
    pipeline: &str,
) {
    loop {
        let waiting = ready.iter().find_map(|(name, (step, _))| {
            let faulty = step
                .after
                .iter()
                .find(|after| faults.contains_key(*after))?;
            Some(((*name).clone(), faulty.clone()))
        });
        let Some((name, cause)) = waiting else {
            return;
        };
        ready.remove(&name);
        let key = format!("step::{pipeline}::{name}");
        let problem = Problem::fault(
            &key,
            "after",
            format!("names a step that is faulty: {cause}"),
        );
        faults.insert(name, vec![problem]);
    }
}

fn script(
    scope: &Scope,
    name: &str,
    step: &ScriptStep,
    writes: &[String],
    names: &[&String],
    disabled: &[String],
) -> PlannedStep {
    let spark_settings = (!step.spark_conf.is_empty()).then_some(Engine::Spark);
    let engine = scope
        .request
        .engine
        .or(step.engine)
        .or(spark_settings)
        .unwrap_or_else(|| scope.engine());
    let mut notes = Vec::new();
    for after in step.after.iter().filter(|after| disabled.contains(after)) {
        notes.push(format!(
            "`{after}` is switched off: the step does not wait for it"
        ));
    }
    if engine == Engine::Native && !step.spark_conf.is_empty() {
        notes.push("`spark_conf` has no effect on the native engine".to_owned());
    }
    let after = step
        .after
        .iter()
        .filter_map(|after| names.iter().position(|name| *name == after))
        .map(|index| index as u32)
        .collect();
    PlannedStep {
        name: name.to_owned(),
        engine,
        table: None,
        writes: writes.to_vec(),
        after,
        work: match engine {
            Engine::Native => native::script(scope, step),
            Engine::Spark => spark::script(scope, name, step),
        },
        notes,
    }
}

/// `writes` as URIs in the identifier's zones.
fn resolve_writes(
    scope: &Scope,
    key: &str,
    step: &ScriptStep,
) -> Result<Vec<String>, Vec<Problem>> {
    let zones = [
        ("bronze", &scope.zones.bronze),
        ("silver", &scope.zones.silver),
        ("gold", &scope.zones.gold),
    ];
    let mut uris = Vec::new();
    let mut problems = Vec::new();
    for (n, path) in step.writes.iter().enumerate() {
        let path = path.trim_end_matches('/');
        let (zone, below) = path.split_once('/').unwrap_or((path, ""));
        match zones.iter().find(|(name, _)| *name == zone) {
            Some((_, base)) => uris.push(format!("{base}/{below}")),
            None if zones.iter().any(|(_, base)| {
                path != base.as_str() && overlap(base, path) && path.len() > base.len()
            }) =>
            {
                uris.push(path.to_owned());
            }
            None => problems.push(
                Problem::fault(
                    key,
                    format!("writes.{n}"),
                    format!("is outside the identifier's zones: {path}"),
                )
                .hint("write `<zone>/<table>`, for example `gold/revenue`"),
            ),
        }
    }
    if problems.is_empty() {
        uris.sort();
        uris.dedup();
        Ok(uris)
    } else {
        Err(problems)
    }
}

impl StepWork {
    /// The command as a person would type it; empty for work that the worker does itself.
    pub fn arguments(&self) -> &[String] {
        match self {
            Self::SparkSubmit { arguments, .. } | Self::Program { arguments } => arguments,
            Self::Load(_) | Self::Seed(_) | Self::Merge(_) => &[],
        }
    }
}
