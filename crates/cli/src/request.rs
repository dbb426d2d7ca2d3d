//! What a person asks to be run, checked at once against the configuration of this moment.

use crate::context::Trouble;
use crate::items::deployment_at;
use crate::place::Place;
use chrono::SecondsFormat;
use pipeline::plan::Plan;
use pipeline::planning::{PlanRequest, plan};
use pipeline::problem::{Problem, nearest};

/// The plan of a request; `None` when the configuration has mistakes, which are the run's outcome.
pub async fn planned(place: &Place, request: &PlanRequest) -> Result<Option<Plan>, Trouble> {
    let items = place.all_items().await?;
    let deployment = deployment_at(place).await?;
    match plan(&items, &deployment, request) {
        Ok(plan) => Ok(Some(plan)),
        Err(problems) => match problems.iter().find(|problem| names_nothing(problem)) {
            Some(problem) => Err(unknown(problem, request)),
            None => Ok(None),
        },
    }
}

/// Whether an identifier or a pipeline was named that is not there.
fn names_nothing(problem: &Problem) -> bool {
    problem.key == "configuration" && matches!(problem.path.as_str(), "identifier" | "pipeline")
}

fn unknown(problem: &Problem, request: &PlanRequest) -> Trouble {
    let message = match problem.path.as_str() {
        "identifier" => format!("there is no identifier `{}`", request.identifier),
        _ => format!(
            "identifier `{}` has no pipeline `{}`",
            request.identifier, request.pipeline
        ),
    };
    match &problem.hint {
        Some(hint) => Trouble::usage(message).hint(hint),
        None => Trouble::usage(message),
    }
}

/// Fails when one of these is not an enabled step of the plan.
pub fn check_tables(plan: &Plan, names: &[String]) -> Result<(), Trouble> {
    names.iter().try_for_each(|name| check_table(plan, name))
}

fn check_table(plan: &Plan, name: &str) -> Result<(), Trouble> {
    let known: Vec<&str> = plan
        .steps
        .iter()
        .map(|step| step.name.as_str())
        .chain(plan.faulty.iter().map(|step| step.name.as_str()))
        .collect();
    if known.contains(&name) {
        return Ok(());
    }
    if plan.disabled.iter().any(|disabled| disabled == name) {
        return Err(Trouble::usage(format!("`{name}` is disabled"))
            .hint(format!("set `enabled` in the item of `{name}`")));
    }
    if let Some(other) = plan.not_applicable.iter().find(|other| other.name == name) {
        return Err(Trouble::usage(format!(
            "`{}` does not do `{name}`: {}",
            plan.pipeline, other.reason
        )));
    }
    let trouble = Trouble::usage(format!("`{}` has no table `{name}`", plan.pipeline));
    let disabled = plan.disabled.iter().map(String::as_str);
    Err(match nearest(name, known.into_iter().chain(disabled)) {
        Some(near) => trouble.hint(format!("did you mean `{near}`?")),
        None => trouble.hint("`headwater plan` lists the tables and what is disabled"),
    })
}

/// The key of a run that was asked for without one: no other run has it.
pub fn new_key() -> String {
    let now = chrono::Utc::now().to_rfc3339_opts(SecondsFormat::Nanos, true);
    format!("{now}-{}", std::process::id())
}
