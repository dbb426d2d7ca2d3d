//! What ledger and cluster say of a run's steps, made to agree: a step that ended without a result has failed.

use crate::error::TaskError;
use crate::port::{Clock, Clusters, Ledger, StepState, StepSummary};
use crate::record;
use crate::step::{Stop, record_result};
use pipeline::plan::Plan;
use pipeline::progress::{Observed, Wave, parse_step_name};
use pipeline::report::{StepFailure, StepOutcome, StepResult};
use pipeline::run::Run;
use std::collections::BTreeMap;

/// What is known of the steps.
pub struct Seen {
    pub observed: Observed,
    pub waves: Vec<Wave>,
    /// Submitted to the present cluster, but not there: the submission did not happen.
    pub lost: Vec<(u32, u32)>,
    /// Submitted to a cluster that has ended, and without a result.
    pub cut_off: Vec<(u32, u32)>,
}

/// Reads results and waves only.
pub async fn recorded(
    ledger: &impl Ledger,
    run_id: &str,
) -> Result<(Observed, Vec<Wave>), TaskError> {
    let waves: Vec<Wave> = record::list_of_run(ledger, run_id, record::WAVE_PREFIX)
        .await?
        .into_iter()
        .map(|wave| wave.value)
        .collect();
    let results = record::results(ledger, run_id).await?;
    let observed = Observed::from_records(
        results.into_iter().map(|result| result.value).collect(),
        &waves,
    );
    Ok((observed, waves))
}

/// Reads both sides. `cluster_id` is the present cluster.
pub async fn observe(
    ports: &(impl Ledger + Clusters + Clock),
    run: &Run,
    plan: &Plan,
    cluster_id: &str,
    cluster_attempt: u32,
) -> Result<Seen, TaskError> {
    let running = [
        StepState::Pending,
        StepState::CancelPending,
        StepState::Running,
    ];
    let active: BTreeMap<(u32, u32), StepSummary> =
        named(ports.list_steps(cluster_id, &running).await?);
    let (mut observed, mut waves) = recorded(ports, &run.run_id).await?;
    let (mut lost, mut cut_off) = (Vec::new(), Vec::new());
    let doubtful: Vec<(u32, u32)> = observed
        .unresolved()
        .filter(|key| !active.contains_key(key))
        .collect();
    if !doubtful.is_empty() {
        let all = named(ports.list_steps(cluster_id, &[]).await?);
        // A step writes its result before it ends: what had ended in the listing has its result by now, or never.
        (observed, waves) = recorded(ports, &run.run_id).await?;
        let open: Vec<(u32, u32)> = observed.unresolved().collect();
        for key in doubtful.into_iter().filter(|key| open.contains(key)) {
            match all.get(&key) {
                Some(step) if ended(&step.state) => {
                    without_result(ports, run, plan, key, step).await?
                }
                Some(_) => {}
                None if submitted_to(&waves, key) == Some(cluster_attempt) => lost.push(key),
                None => cut_off.push(key),
            }
        }
        (observed, waves) = recorded(ports, &run.run_id).await?;
    }
    observed.active = active.keys().map(|(index, _)| *index).collect();
    Ok(Seen {
        observed,
        waves,
        lost,
        cut_off,
    })
}

fn named(steps: Vec<StepSummary>) -> BTreeMap<(u32, u32), StepSummary> {
    steps
        .into_iter()
        .filter_map(|step| Some((parse_step_name(&step.name)?, step)))
        .collect()
}

/// Cluster attempt that a step's attempt was last submitted to.
fn submitted_to(waves: &[Wave], key: (u32, u32)) -> Option<u32> {
    waves
        .iter()
        .rev()
        .find(|wave| wave.steps.contains(&key))
        .map(|wave| wave.cluster_attempt)
}

fn ended(state: &StepState) -> bool {
    match state {
        StepState::Pending | StepState::CancelPending | StepState::Running => false,
        StepState::Completed
        | StepState::Cancelled
        | StepState::Failed
        | StepState::Interrupted => true,
        // Fails closed: a state that we do not know is not success.
        StepState::Unrecognised(_) => true,
    }
}

/// Fixes the failure of a step that ended and said nothing.
async fn without_result(
    ports: &(impl Ledger + Clock),
    run: &Run,
    plan: &Plan,
    (index, attempt): (u32, u32),
    step: &StepSummary,
) -> Result<(), TaskError> {
    let error = match step.state {
        StepState::Cancelled => "StepCancelled",
        StepState::Interrupted => "StepInterrupted",
        StepState::Unrecognised(_) => "StepStateUnknown",
        _ => "NoResult",
    };
    let detail = step
        .failure
        .as_deref()
        .unwrap_or("the cluster gives no reason");
    let now = ports.now();
    let result = StepResult {
        schema_version: 1,
        run_id: run.run_id.clone(),
        index,
        name: plan
            .steps
            .get(index as usize)
            .map(|step| step.name.clone())
            .unwrap_or_default(),
        attempt,
        started: now,
        ended: now,
        outcome: StepOutcome::Failed(StepFailure {
            error: error.to_owned(),
            message: format!("the step ended without a result: {detail}"),
            hint: Some(format!(
                "headwater logs {}; then headwater resume {}",
                run.run_id, run.run_id
            )),
            root_cause: Vec::new(),
        }),
    };
    match record_result(ports, &result).await {
        Ok(()) | Err(Stop::NotAdmitted(_) | Stop::Cancelled(_) | Stop::Claimed { .. }) => Ok(()),
        Err(Stop::Ledger(error)) => Err(error),
    }
}
