//! `admit`: decides whether the run may start now, waits, or never starts; takes the locks with the decision.

use crate::Settings;
use crate::error::TaskError;
use crate::port::{Clock, Ledger, Objects};
use crate::record::{self, Versioned};
use crate::state::{Begun, Decision, Live, State, TaskInput, begin};
use crate::step::read_plan;
use pipeline::admission::{
    Admission, Admissions, Candidate, Footprint, LiveRun, Skip, Ticket, decide,
};
use pipeline::plan::Frozen;
use pipeline::progress::wait_seconds;
use pipeline::run::RunStatus;

pub async fn run(
    ports: &(impl Ledger + Objects + Clock),
    settings: &Settings,
    input: &TaskInput,
) -> Result<State, TaskError> {
    let live = match begin(ports, input).await? {
        Begun::Live(live) => live,
        Begun::Over(state) => return Ok(state),
    };
    if live.run.value.status == RunStatus::Admitted {
        return Ok(State::of(&live.run.value, Decision::Admitted));
    }
    let frozen = live.frozen(ports).await?;
    let key = record::admission(&live.run.value.input.identifier);
    let admissions: Option<Versioned<Admissions>> = record::get(ports, &key).await?;
    let record = admissions
        .as_ref()
        .map(|read| read.value.clone())
        .unwrap_or_default();
    let plans = plans_of(ports, &record).await?;
    let footprints: Vec<Footprint<'_>> = plans.iter().map(footprint).collect();
    let decision = decide(&record, &candidate(&live, &frozen), &footprints, live.now);
    take(ports, settings, *live, &frozen, admissions, decision).await
}

/// Writes the decision: RUN and the record in one transaction.
async fn take(
    ledger: &impl Ledger,
    settings: &Settings,
    mut live: Live,
    frozen: &Frozen,
    admissions: Option<Versioned<Admissions>>,
    decision: Admission,
) -> Result<State, TaskError> {
    let before = live.run.clone();
    let run = &mut live.run.value;
    let record = admissions
        .as_ref()
        .map(|read| read.value.clone())
        .unwrap_or_default();
    let (record, state) = match decision {
        Admission::Admit => {
            let fence = admissions.as_ref().map_or(1, |read| read.version + 1);
            run.status = RunStatus::Admitted;
            run.fence = Some(fence);
            run.admitted = Some(live.now);
            run.deadline = Some(
                live.now
                    .plus_seconds(i64::from(frozen.plan.policy.timeout_minutes) * 60),
            );
            let plan = run
                .plan
                .clone()
                .ok_or_else(|| TaskError::Corrupt("the run has no plan".to_owned()))?;
            let live_run = LiveRun {
                run_id: run.run_id.clone(),
                pipeline: run.input.pipeline.clone(),
                fence,
                plan,
            };
            (record.admit(live_run), State::of(run, Decision::Admitted))
        }
        Admission::Queue { .. } if run.status == RunStatus::Queued => {
            let waited = live.now.seconds_since(run.received);
            let seconds = wait_seconds(waited, settings.poll_seconds, true);
            return Ok(State::of(run, Decision::Queued).wait(seconds));
        }
        Admission::Queue { .. } => {
            run.status = RunStatus::Queued;
            run.queue_until = Some(queue_until(&before.value, frozen));
            let ticket = Ticket {
                run_id: run.run_id.clone(),
                pipeline: run.input.pipeline.clone(),
                since: live.now,
                whole: run.input.only.is_none(),
            };
            (
                record.queue(ticket),
                State::of(run, Decision::Queued).wait(settings.poll_seconds),
            )
        }
        Admission::Skip(skip) => {
            run.skip = Some(skip.to_string());
            if let Skip::QueueTimeout { .. } = skip {
                run.queue_until = Some(live.now);
            }
            let pipeline = run.input.pipeline.clone();
            (
                record.skip(&pipeline).leave(&run.run_id),
                State::of(run, Decision::Close),
            )
        }
    };
    let key = record::admission(&live.run.value.input.identifier);
    ledger
        .write(&[
            before.replace(&live.run.value),
            record::upsert(key, admissions.as_ref(), &record),
        ])
        .await?;
    Ok(state)
}

/// The frozen plans of the admitted runs: their write sets.
async fn plans_of(objects: &impl Objects, record: &Admissions) -> Result<Vec<Frozen>, TaskError> {
    let mut plans = Vec::with_capacity(record.live.len());
    for run in &record.live {
        plans.push(read_plan(objects, &run.plan).await?);
    }
    Ok(plans)
}

fn footprint(frozen: &Frozen) -> Footprint<'_> {
    Footprint {
        run_id: &frozen.run_id,
        pipeline: &frozen.plan.pipeline,
        writes: &frozen.plan.writes,
        allowed_concurrent: &frozen.plan.policy.allowed_concurrent,
    }
}

fn candidate<'a>(live: &'a Live, frozen: &'a Frozen) -> Candidate<'a> {
    let run = &live.run.value;
    Candidate {
        run_id: &run.run_id,
        pipeline: &run.input.pipeline,
        trigger: &run.input.trigger,
        received: run.received,
        whole: run.input.only.is_none(),
        writes: &frozen.plan.writes,
        allowed_concurrent: &frozen.plan.policy.allowed_concurrent,
        overlap: frozen.plan.policy.overlap,
        queue_until: run.queue_until.unwrap_or_else(|| queue_until(run, frozen)),
    }
}

fn queue_until(run: &pipeline::run::Run, frozen: &Frozen) -> pipeline::time::Timestamp {
    run.received
        .plus_seconds(i64::from(frozen.plan.policy.queue_minutes) * 60)
}
