//! `read-config`: records the run, reads its configuration as one generation, plans, and freezes the plan.

use crate::error::TaskError;
use crate::finish::left;
use crate::port::{Clock, ConfigTable, DeploymentError, Deployments, Ledger, Objects, WriteError};
use crate::record::{self, Versioned};
use crate::state::{Decision, State, TaskInput, freeze};
use pipeline::deployment::Deployment;
use pipeline::normal::{GENERATION_KEY, is_one_generation};
use pipeline::plan::{Frozen, PLAN_SCHEMA_VERSION, Plan};
use pipeline::planning::{PlanRequest, plan};
use pipeline::run::{Cause, Run, RunStatus, StartInput, run_id};
use serde_json::Value;

/// Reads of the configuration until two agree.
const READS_MAX: u32 = 3;

pub async fn run(
    ports: &(impl Ledger + ConfigTable + Deployments + Objects + Clock),
    input: &TaskInput,
) -> Result<State, TaskError> {
    let start = input.start()?;
    let Some(run) = receive(ports, &input.execution, start).await? else {
        let run = record::get_run(ports, &input.run_id()?).await?;
        return Ok(State::of(&run.value, Decision::Duplicate));
    };
    if run.value.status != RunStatus::Received
        || run.value.cause.is_some()
        || run.value.cancel.is_some()
    {
        return Ok(State::of(&run.value, Decision::Close));
    }
    if run.value.plan.is_some() {
        return Ok(State::of(&run.value, Decision::Planned));
    }
    let items = read_generation(ports, &run.value.input.identifier).await?;
    let deployment = match ports.deployment().await {
        Ok(deployment) => deployment,
        Err(DeploymentError::Faulty(mistakes)) => {
            let cause = Cause::new("DeploymentInvalid", mistakes.join("\n")).hint(
                "`headwater artifacts push` uploads the code that clusters run, and lists it",
            );
            return close(ports, run, cause).await;
        }
        Err(DeploymentError::Port(error)) => return Err(error.into()),
    };
    match decide(&items, &deployment, &run.value.input) {
        Ok(plan) => freeze_plan(ports, run, plan).await,
        Err(cause) => close(ports, run, cause).await,
    }
}

/// Writes RUN before anything else is read. `None` when another execution has it.
async fn receive(
    ports: &(impl Ledger + Clock),
    execution: &str,
    input: StartInput,
) -> Result<Option<Versioned<Run>>, TaskError> {
    let run_id = run_id(&input.identifier, &input.pipeline, &input.trigger.id);
    let run = Run {
        schema_version: 1,
        run_id: run_id.clone(),
        input,
        owner_execution: execution.to_owned(),
        status: RunStatus::Received,
        received: ports.now(),
        queue_until: None,
        admitted: None,
        fence: None,
        deadline: None,
        plan: None,
        kind: None,
        notify: None,
        work: None,
        clusters: Vec::new(),
        cancel: None,
        cause: None,
        skip: None,
        outcome: None,
        closing: None,
        ended: None,
    };
    let writes = [
        record::create(record::run(&run_id), &run),
        record::create(record::open(&run_id), &run_id),
        record::create(record::runs(&run), &run_id),
    ];
    match ports.write(&writes).await {
        Ok(()) | Err(WriteError::Conflict(_)) => {}
        Err(WriteError::Port(error)) => return Err(error.into()),
    }
    let run = record::get_run(ports, &run_id).await?;
    Ok((run.value.owner_execution == execution).then_some(run))
}

/// All items, read until two reads agree, with each other and with the generation that an import states last: an edit in
/// the middle of a read is not half seen.
async fn read_generation(
    ports: &impl ConfigTable,
    identifier: &str,
) -> Result<Vec<Value>, TaskError> {
    let mut before: Option<Vec<Value>> = None;
    for _ in 0..READS_MAX {
        let items = ports.items(identifier).await?;
        if before.as_ref() == Some(&items) && is_one_generation(&items) {
            return Ok(items);
        }
        before = Some(items);
    }
    Err(moving(identifier, &before.unwrap_or_default()))
}

fn moving(identifier: &str, items: &[Value]) -> TaskError {
    TaskError::ConfigMoving(match is_one_generation(items) {
        true => format!("the items of `{identifier}` changed in each of {READS_MAX} reads"),
        false => format!(
            "the items of `{identifier}` are not those that `{GENERATION_KEY}` states: an import is under way, or an item \
             was written without `headwater import`"
        ),
    })
}

/// The plan, or why this run cannot have one.
fn decide(items: &[Value], deployment: &Deployment, input: &StartInput) -> Result<Plan, Cause> {
    if items.is_empty() {
        return Err(Cause::new(
            "IdentifierUnknown",
            format!("there are no items for identifier `{}`", input.identifier),
        )
        .hint("`headwater import` writes items; `headwater export` shows what is there"));
    }
    let request = PlanRequest {
        identifier: input.identifier.clone(),
        pipeline: input.pipeline.clone(),
        engine: input.engine,
    };
    let plan = plan(items, deployment, &request).map_err(|problems| {
        let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Cause::new("ConfigInvalid", text.join("\n")).hint("`headwater check` shows all mistakes")
    })?;
    let known = |name: &String| {
        plan.steps.iter().any(|step| step.name == *name)
            || plan.faulty.iter().any(|step| step.name == *name)
    };
    let unknown = input.only.iter().flatten().find(|name| !known(name));
    match unknown.filter(|_| input.resumes.is_none()) {
        None => Ok(plan),
        Some(name) => Err(Cause::new(
            "StepUnknown",
            format!("`{}` has no enabled step `{name}`", input.pipeline),
        )
        .hint("`headwater plan` lists the steps and what is disabled")),
    }
}

async fn freeze_plan(
    ports: &(impl Ledger + Objects),
    mut run: Versioned<Run>,
    plan: Plan,
) -> Result<State, TaskError> {
    let before = run.clone();
    // What is left is seen in the present configuration: tables may have come and gone since the run that is resumed.
    let only = match &run.value.input.resumes {
        Some(root) => Some(left(ports, root, &plan).await?),
        None => run.value.input.only.clone(),
    };
    let frozen = Frozen {
        schema_version: PLAN_SCHEMA_VERSION,
        run_id: run.value.run_id.clone(),
        root_run_id: run.value.root_run_id().to_owned(),
        only,
        plan,
    };
    run.value.plan = Some(freeze(ports, &frozen.plan, &frozen.run_id, "plan", &frozen).await?);
    run.value.kind = Some(frozen.plan.kind);
    run.value.notify = Some(frozen.plan.policy.notify);
    ports.write(&[before.replace(&run.value)]).await?;
    Ok(State::of(&run.value, Decision::Planned))
}

async fn close(
    ledger: &impl Ledger,
    mut run: Versioned<Run>,
    cause: Cause,
) -> Result<State, TaskError> {
    let before = run.clone();
    run.value.blame(cause);
    ledger.write(&[before.replace(&run.value)]).await?;
    Ok(State::of(&run.value, Decision::Close))
}
