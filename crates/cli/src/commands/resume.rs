//! `resume`: the tables of a run that have no success, planned from the present configuration.

use crate::context::{Context, Trouble, block_on};
use crate::follow::{self, Manner};
use crate::place::Place;
use crate::print::say;
use crate::request::planned;
use crate::view::{Papers, find_run, recorded_run};
use pipeline::plan::Plan;
use pipeline::planning::PlanRequest;
use pipeline::run::StartInput;
use serde_json::{Value, json};
use std::process::ExitCode;
use tasks::control::{self, NoResume};

/// Runs what a run that did not succeed has left to do
///
/// A resume is a run of its own, planned from the present configuration: what changed since is printed. When all
/// tables are done, what was to follow the first run follows. Exit codes, signals and output are those of `run`.
#[derive(clap::Args)]
pub struct Arguments {
    /// A run id, the beginning of one or of its last part, or `last`
    run: String,
    #[command(flatten)]
    manner: Manner,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    block_on(async {
        let place = context.open().await?;
        place.repair_first().await;
        let run = find_run(&place, &arguments.run).await?;
        let input = control::resume(&place, &run.run_id)
            .await
            .map_err(|why| no_resume(&place, why))?;
        for line in changed_since(&place, &input).await? {
            say(&line);
        }
        if let Some(only) = &input.only {
            say(&format!("left to do: {}", only.join(", ")));
        }
        follow::start(context, &place, &input, &arguments.manner).await
    })
}

fn no_resume(place: &Place, why: NoResume) -> Trouble {
    let headwater = place.headwater();
    match why {
        NoResume::NotEnded(ref run_id) => Trouble::usage(why.to_string()).hint(format!(
            "`{headwater} show {run_id}` shows how far it is, `{headwater} cancel {run_id}` ends it"
        )),
        NoResume::NothingLeft(_) => {
            Trouble::usage(why.to_string()).hint(format!("`{headwater} run` starts a new run"))
        }
        NoResume::Task(error) => error.into(),
    }
}

/// What the resumed run's plan and a plan of this moment differ in.
async fn changed_since(place: &Place, input: &StartInput) -> Result<Vec<String>, Trouble> {
    let Some(root) = &input.resumes else {
        return Ok(Vec::new());
    };
    let mut papers = Papers::default();
    if let Some(run) = recorded_run(place, root).await? {
        papers.read(place, &run).await?;
    }
    let request = PlanRequest {
        identifier: input.identifier.clone(),
        pipeline: input.pipeline.clone(),
        engine: input.engine,
    };
    let (Some(frozen), Some(now)) = (papers.frozen, planned(place, &request).await?) else {
        return Ok(Vec::new());
    };
    let lines = difference(&frozen.plan, &now);
    let mut told = Vec::new();
    if !lines.is_empty() {
        told.push(format!("the configuration differs from that of `{root}`:"));
        told.extend(lines.iter().map(|line| format!("  {line}")));
    }
    Ok(told)
}

/// Each place in which two plans differ, by its path.
fn difference(before: &Plan, after: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", &by_name(before), &by_name(after), &mut lines);
    lines
}

/// A plan whose steps are found by name: a table more does not shift the others.
fn by_name(plan: &Plan) -> Value {
    let mut value = json!(plan);
    let steps = plan
        .steps
        .iter()
        .map(|step| {
            let mut step_value = json!(step);
            // Indexes say where a step stands, which is not its configuration.
            step_value["after"] = step
                .after
                .iter()
                .filter_map(|index| plan.steps.get(*index as usize))
                .map(|before| json!(before.name))
                .collect();
            (step.name.clone(), step_value)
        })
        .collect();
    value["steps"] = Value::Object(steps);
    if let Value::Object(fields) = &mut value {
        // They follow from the rest.
        for name in ["generation", "writes"] {
            fields.remove(name);
        }
    }
    value
}

fn compare(path: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(left), Value::Object(right)) => {
            let names = left
                .keys()
                .chain(right.keys().filter(|name| !left.contains_key(*name)));
            for name in names {
                let inner = match path {
                    "" => name.clone(),
                    _ => format!("{path}.{name}"),
                };
                match (left.get(name), right.get(name)) {
                    (Some(before), Some(after)) => compare(&inner, before, after, lines),
                    (None, _) => lines.push(format!("{inner}: is new")),
                    (_, None) => lines.push(format!("{inner}: is gone")),
                }
            }
        }
        (before, after) if before != after => lines.push(format!(
            "{path}: {} instead of {}",
            pipeline::problem::shown(path, after),
            pipeline::problem::shown(path, before)
        )),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_its_place_and_both_values() {
        let before = json!({"policy": {"timeout_minutes": 60}, "steps": {"a": 1, "b": {"x": [1]}}});
        let after =
            json!({"policy": {"timeout_minutes": 90}, "steps": {"b": {"x": [1, 2]}, "c": 1}});
        let mut lines = Vec::new();
        compare("", &before, &after, &mut lines);
        assert_eq!(
            lines,
            [
                "policy.timeout_minutes: 90 instead of 60",
                "steps.a: is gone",
                "steps.b.x: [1,2] instead of [1]",
                "steps.c: is new",
            ]
        );
        lines.clear();
        compare("", &after, &after, &mut lines);
        assert_eq!(lines, [""; 0]);
    }
}
