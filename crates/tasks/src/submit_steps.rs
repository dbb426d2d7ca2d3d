//! `submit-steps`: one wave of steps, never more than the cluster takes. The wave is written before it is submitted.

use crate::Settings;
use crate::error::TaskError;
use crate::observe::observe;
use crate::port::{Clock, Clusters, Ledger, Objects, StepRequest};
use crate::record;
use crate::state::{Begun, Decision, Live, State, TaskInput, begin};
use pipeline::plan::Plan;
use pipeline::progress::{WAVE_STEPS_MAX, Wave, places, ready, step_name};
use pipeline::run::{FileRef, Run};

pub async fn run(
    ports: &(impl Ledger + Objects + Clusters + Clock),
    settings: &Settings,
    input: &TaskInput,
) -> Result<State, TaskError> {
    let live = match begin(ports, input).await? {
        Begun::Live(live) => live,
        Begun::Over(state) => return Ok(state),
    };
    let (cluster_id, cluster_attempt) = bound(&live)?;
    let plan = live.frozen(ports).await?.plan;
    let work = live.work(ports).await?;
    let run = &live.run.value;
    let seen = observe(ports, run, &plan, &cluster_id, cluster_attempt).await?;
    let cut_off = seen
        .cut_off
        .iter()
        .map(|(index, attempt)| (*index, attempt + 1));
    let fresh = ready(&plan, &work, &seen.observed)
        .into_iter()
        .map(|index| (index, 1));
    let free = places(&plan)
        .saturating_sub(seen.observed.active.len())
        .min(WAVE_STEPS_MAX);
    let steps: Vec<(u32, u32)> = seen
        .lost
        .iter()
        .copied()
        .chain(cut_off)
        .chain(fresh)
        .take(free)
        .collect();
    if !steps.is_empty() {
        let number = seen.waves.last().map_or(1, |wave| wave.number + 1);
        let wave = Wave {
            number,
            cluster_attempt,
            at: live.now,
            steps,
        };
        ports
            .write(&[
                record::create(record::wave(&run.run_id, number), &wave),
                live.run.unchanged(),
            ])
            .await?;
        ports
            .add_steps(&cluster_id, &requests(run, &plan, &wave)?)
            .await?;
    }
    Ok(State::of(run, Decision::Observe).wait(settings.poll_seconds))
}

/// The present cluster's id and attempt.
pub fn bound(live: &Live) -> Result<(String, u32), TaskError> {
    live.run
        .value
        .cluster()
        .and_then(|cluster| Some((cluster.id.clone()?, cluster.attempt)))
        .ok_or_else(|| TaskError::Corrupt("the run has no cluster".to_owned()))
}

fn requests(run: &Run, plan: &Plan, wave: &Wave) -> Result<Vec<StepRequest>, TaskError> {
    let file = run
        .plan
        .as_ref()
        .ok_or_else(|| TaskError::Corrupt("the run has no plan".to_owned()))?;
    let step = |(index, attempt): &(u32, u32)| {
        let name = plan
            .steps
            .get(*index as usize)
            .map_or("", |step| step.name.as_str());
        StepRequest {
            name: step_name(*index, *attempt, name),
            arguments: arguments(file, *index, *attempt),
        }
    };
    Ok(wave.steps.iter().map(step).collect())
}

/// Tiny and constant: everything else is in the frozen plan.
fn arguments(plan: &FileRef, index: u32, attempt: u32) -> Vec<String> {
    [
        "headwater-worker",
        "step",
        "--plan",
        &plan.uri,
        "--sha256",
        &plan.sha256,
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([
        "--index".to_owned(),
        index.to_string(),
        "--attempt".to_owned(),
        attempt.to_string(),
    ])
    .collect()
}
