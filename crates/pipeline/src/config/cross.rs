//! What can only be seen when items are laid beside each other.

use super::Config;
use super::pipeline::{RELEASE_HINT, release_fault};
use crate::key::{ConfigKey, Name, PipelineName};
use crate::plan::WriteOperation;
use crate::problem::{Found, Problem, nearest};
use crate::value::list;
use std::collections::{BTreeMap, BTreeSet};

pub fn check(config: &mut Config, has_database: bool) {
    let mut problems = Vec::new();
    if !has_database {
        problems.push(
            Problem::new("database::config", "", Found::Missing, "")
                .hint("each identifier has one: it says where the source is"),
        );
    }
    pipelines(config, &mut problems);
    next_cycles(config, &mut problems);
    target_tables(config, &mut problems);
    scripts(config, &mut problems);
    let warnings = warnings(config);
    config.warnings.extend(warnings);
    for problem in problems {
        config.note(problem.key.clone(), vec![problem]);
    }
}

fn key(name: &PipelineName) -> String {
    ConfigKey::Pipeline(name.clone()).to_string()
}

fn pipelines(config: &Config, problems: &mut Vec<Problem>) {
    let names: Vec<&str> = config.pipelines.keys().map(PipelineName::as_str).collect();
    let unknown = |name: &PipelineName, path: &str, wanted: &str| {
        let problem = Problem::fault(
            &key(name),
            path,
            format!("names an unknown pipeline: {wanted}"),
        );
        problem.hint(match nearest(wanted, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", list(&names)),
        })
    };
    for (name, pipeline) in &config.pipelines {
        if let Some(next) = &pipeline.next
            && !config.pipelines.contains_key(&next.pipeline)
        {
            let wanted = next.pipeline.as_str();
            problems.push(unknown(name, "next_pipeline.pipeline_type", wanted));
        }
        for other in &pipeline.allowed_concurrent {
            if other == name.as_str() {
                problems.push(
                    Problem::fault(
                        &key(name),
                        "allowed_concurrent",
                        format!("names the pipeline itself: {other}"),
                    )
                    .hint("a pipeline never runs beside itself"),
                );
            } else if !names.contains(&other.as_str()) {
                problems.push(unknown(name, "allowed_concurrent", other));
            }
        }
    }
}

/// The pipelines that follow each other from `start` on; the last one repeats an earlier one when they run in a circle.
pub fn chain<'a>(config: &'a Config, start: &'a PipelineName) -> Vec<&'a PipelineName> {
    let mut chain = vec![start];
    while let Some(next) = chain
        .last()
        .and_then(|name| config.pipelines.get(*name))
        .and_then(|pipeline| pipeline.next.as_ref())
    {
        let again = chain.contains(&&next.pipeline);
        chain.push(&next.pipeline);
        if again {
            break;
        }
    }
    chain
}

/// The circle that a chain ends in, if it does.
pub fn circle<'a>(chain: &[&'a PipelineName]) -> Option<Vec<&'a PipelineName>> {
    let (last, before) = chain.split_last()?;
    let from = before.iter().position(|name| name == last)?;
    Some(chain[from..].to_vec())
}

/// How a circle reads: `a -> b -> a`.
pub fn shown_circle(circle: &[&PipelineName]) -> String {
    let names: Vec<&str> = circle.iter().map(|name| name.as_str()).collect();
    names.join(" -> ")
}

/// Each circle is one mistake, told at the first of its pipelines.
fn next_cycles(config: &Config, problems: &mut Vec<Problem>) {
    for start in config.pipelines.keys() {
        let Some(circle) = circle(&chain(config, start)) else {
            continue;
        };
        if circle.first() == Some(&start) && circle.iter().min() == Some(&start) {
            problems.push(next_cycle(start, &circle));
        }
    }
}

/// The mistake of a pipeline whose chain never ends.
pub fn next_cycle(start: &PipelineName, circle: &[&PipelineName]) -> Problem {
    Problem::fault(
        &key(start),
        "next_pipeline.pipeline_type",
        format!(
            "makes the pipelines follow each other for ever: {}",
            shown_circle(circle)
        ),
    )
    .hint("switch one of them off with `next_pipeline.enabled`")
}

/// Two enabled tables may not have one lake table. The catalogue knows no upper case, so neither does this check.
fn target_tables(config: &Config, problems: &mut Vec<Problem>) {
    let Some(database) = &config.database else {
        return;
    };
    let mut by_target: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for (name, (table, step)) in &config.tables {
        let Some(step) = step.as_ref().filter(|step| step.enabled) else {
            continue;
        };
        let target = target_table(&database.target_table_prefix, table, step);
        by_target
            .entry(target.to_lowercase())
            .or_default()
            .push(name);
    }
    for (target, names) in by_target.into_iter().filter(|(_, names)| names.len() > 1) {
        for name in &names {
            let others: Vec<&str> = names
                .iter()
                .filter(|other| *other != name)
                .map(|other| other.as_str())
                .collect();
            problems.push(
                Problem::fault(
                    &format!("step::system::{name}"),
                    "override_target_table_name",
                    format!(
                        "leads to the lake table `{target}`, which {} has too",
                        list(&others)
                    ),
                )
                .hint("give one of them another `override_target_table_name`"),
            );
        }
    }
}

/// The name of the lake table.
pub fn target_table(
    prefix: &str,
    table: &crate::path::TableName,
    step: &super::table::TableStep,
) -> String {
    match &step.override_target_table_name {
        Some(name) => name.clone(),
        None => format!("{prefix}_{}_{}", table.schema, table.table),
    }
}

fn scripts(config: &Config, problems: &mut Vec<Problem>) {
    for (pipeline, steps) in &config.scripts {
        let known = config
            .pipelines
            .contains_key(&PipelineName::Custom(pipeline.clone()));
        for (name, step) in steps {
            let key = format!("step::{pipeline}::{name}");
            if !known {
                problems.push(
                    Problem::fault(
                        &key,
                        "config",
                        format!("belongs to a pipeline that has no item: {pipeline}"),
                    )
                    .hint(format!("write `pipeline::custom::{pipeline}`")),
                );
            }
            for wanted in step.iter().flat_map(|step| &step.after) {
                if !steps.contains_key(wanted) {
                    let problem =
                        Problem::fault(&key, "after", format!("names an unknown step: {wanted}"));
                    let others = steps.keys().filter(|other| *other != name);
                    problems.push(match nearest(wanted, others.map(String::as_str)) {
                        Some(near) => problem.hint(format!("did you mean `{near}`?")),
                        None => problem.hint("name steps of the same pipeline"),
                    });
                }
            }
        }
        after_cycles(config, pipeline, problems);
        overlapping_writes(config, pipeline, problems);
    }
}

/// Steps that wait for themselves, directly or through others.
fn after_cycles(config: &Config, pipeline: &Name, problems: &mut Vec<Problem>) {
    let steps = &config.scripts[pipeline];
    let mut left: BTreeMap<&String, BTreeSet<&String>> = steps
        .iter()
        .map(|(name, step)| {
            let after = step.iter().flat_map(|step| &step.after);
            (
                name,
                after.filter(|wanted| steps.contains_key(*wanted)).collect(),
            )
        })
        .collect();
    // What waits for nothing that is left can run; what never can is in a circle or behind one.
    loop {
        let ready: Vec<&String> = left
            .iter()
            .filter(|(_, after)| after.iter().all(|wanted| !left.contains_key(*wanted)))
            .map(|(name, _)| *name)
            .collect();
        if ready.is_empty() {
            break;
        }
        for name in ready {
            left.remove(name);
        }
    }
    let names: Vec<&str> = left.keys().map(|name| name.as_str()).collect();
    for name in left.keys() {
        problems.push(
            Problem::fault(
                &format!("step::{pipeline}::{name}"),
                "after",
                format!("can never be met: {} wait for each other", list(&names)),
            )
            .hint("remove one of the names in `after`"),
        );
    }
}

/// Two enabled steps of one pipeline may not write into one table.
fn overlapping_writes(config: &Config, pipeline: &Name, problems: &mut Vec<Problem>) {
    let mut written: Vec<(&str, &str)> = Vec::new();
    for (name, step) in &config.scripts[pipeline] {
        let Some(step) = step.as_ref().filter(|step| step.enabled) else {
            continue;
        };
        for path in &step.writes {
            let path = path.trim_end_matches('/');
            if let Some((other, theirs)) = written
                .iter()
                .find(|(other, theirs)| other != name && overlap(path, theirs))
            {
                problems.push(
                    Problem::fault(
                        &format!("step::{pipeline}::{name}"),
                        "writes",
                        format!("overlaps what step `{other}` writes (`{theirs}`): {path}"),
                    )
                    .hint("one step writes one table"),
                );
            }
            written.push((name, path));
        }
    }
}

/// Whether one path is the other, or lies in it.
pub fn overlap(left: &str, right: &str) -> bool {
    let inside = |outer: &str, inner: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    inside(left, right) || inside(right, left)
}

fn warnings(config: &Config) -> Vec<Problem> {
    let follows = config.changes_follow();
    let mut warnings = Vec::new();
    for (name, (_, step)) in &config.tables {
        let operation = step
            .as_ref()
            .and_then(|step| step.hudi.as_ref())
            .map(|hudi| hudi.operation);
        if let (true, Some(WriteOperation::Insert | WriteOperation::BulkInsert)) =
            (follows, operation)
        {
            warnings.push(
                Problem::fault(
                    &format!("step::system::{name}"),
                    "hudi_config.op",
                    "does not look keys up: changes that follow become duplicate rows",
                )
                .hint("use `UPSERT`, unless the table is only ever inserted into"),
            );
        }
    }
    for (name, pipeline) in &config.pipelines {
        let label = pipeline
            .emr
            .as_ref()
            .and_then(|emr| emr.release_label.as_deref());
        if let Some(fault) = label.and_then(release_fault) {
            let problem = Problem::fault(&key(name), "emr_config.release_label", fault);
            warnings.push(problem.hint(RELEASE_HINT));
        }
        if let PipelineName::Custom(custom) = name
            && !config.scripts.contains_key(custom)
        {
            warnings.push(
                Problem::fault(&key(name), "", "has no steps")
                    .hint(format!("write `step::{custom}::<step>`")),
            );
        }
    }
    warnings
}

impl Config {
    /// An incremental or continuous pipeline exists, and capture is not `none`.
    pub fn changes_follow(&self) -> bool {
        let capture = self
            .database
            .as_ref()
            .and_then(|database| database.capture.kind);
        capture != Some(crate::plan::CaptureKind::None)
            && self
                .pipelines
                .keys()
                .any(|name| name.kind().change_driven())
    }
}
