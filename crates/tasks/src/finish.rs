//! `finish`: fixes the outcome, sees the cluster gone, and ends the run in one transaction.

use crate::cluster::{by_name, terminal};
use crate::error::TaskError;
use crate::observe::recorded;
use crate::port::{Clock, Clusters, Ledger, LedgerWrite, Metrics, Objects};
use crate::record::{self, Versioned};
use crate::state::{Decision, State, TaskInput, read_json};
use crate::step::read_plan;
use pipeline::admission::Admissions;
use pipeline::metric;
use pipeline::next::next;
use pipeline::notice::{Counts, Told, notice, outcome, stuck_cluster, wanted};
use pipeline::outcome::Outcome;
use pipeline::plan::{Frozen, Plan};
use pipeline::progress::{StepAccount, StepEnd, account, wait_seconds};
use pipeline::report::StepOutcome;
use pipeline::run::{Cause, Run, RunStatus, StartInput, Work};
use pipeline::time::Timestamp;

/// Minutes after which a cluster that does not terminate is worth a second notice.
const TERMINATION_MINUTES_MAX: i64 = 30;

pub async fn run(
    ports: &(impl Ledger + Objects + Clusters + Metrics + Clock),
    poll_seconds: i64,
    input: &TaskInput,
) -> Result<State, TaskError> {
    let run_id = input.run_id()?;
    let run = record::get_run(ports, &run_id).await?;
    if run.value.owner_execution != input.execution {
        return Ok(State::of(&run.value, Decision::Finished));
    }
    close_run(ports, poll_seconds, &run_id, input.caught()).await
}

/// Takes a run to its end as far as it goes now. The sweep does the same for runs whose execution is dead.
pub async fn close_run(
    ports: &(impl Ledger + Objects + Clusters + Metrics + Clock),
    poll_seconds: i64,
    run_id: &str,
    fault: Option<Cause>,
) -> Result<State, TaskError> {
    let mut run = record::get_run(ports, run_id).await?;
    if run.value.status != RunStatus::Ended && run.value.status != RunStatus::Closing {
        run = stop(ports, run, fault).await?;
    }
    if run.value.status == RunStatus::Closing && run.value.outcome.is_none() {
        run = fix(ports, run).await?;
    }
    if run.value.status == RunStatus::Closing {
        run = clean(ports, run).await?;
    }
    if run.value.status == RunStatus::Closing
        && run
            .value
            .clusters
            .iter()
            .all(|cluster| cluster.closed.is_some())
    {
        run = end(ports, run).await?;
    }
    let decision = if run.value.status == RunStatus::Ended {
        Decision::Finished
    } else {
        Decision::Terminating
    };
    let closing_for = run
        .value
        .closing
        .map_or(0, |closing| ports.now().seconds_since(closing));
    Ok(State::of(&run.value, decision).wait(wait_seconds(closing_for, poll_seconds, false)))
}

/// From here no step of the run may commit or record a result: what is in the ledger is all there will be.
async fn stop(
    ports: &(impl Ledger + Clock),
    run: Versioned<Run>,
    fault: Option<Cause>,
) -> Result<Versioned<Run>, TaskError> {
    let now = ports.now();
    let mut after = run.value.clone();
    if let Some(fault) = fault {
        after.blame(fault);
    }
    if after.cancel.is_some() {
        after.blame(Cause::new("Cancelled", "the run was cancelled"));
    }
    if let Some(deadline) = after.deadline.filter(|deadline| now >= *deadline) {
        after.blame(Cause::new(
            "DeadlineExceeded",
            format!("the run was given up at {deadline}: `timeout_minutes`"),
        ));
    }
    after.status = RunStatus::Closing;
    after.closing = Some(now);
    replace(ports, run, after).await
}

async fn replace(
    ledger: &impl Ledger,
    run: Versioned<Run>,
    after: Run,
) -> Result<Versioned<Run>, TaskError> {
    ledger.write(&[run.replace(&after)]).await?;
    Ok(Versioned {
        version: run.version + 1,
        value: after,
        ..run
    })
}

/// What is known of a run at its end.
struct Account {
    frozen: Option<Frozen>,
    work: Option<Work>,
    accounts: Vec<StepAccount>,
    counts: Counts,
}

async fn read_account(ports: &(impl Ledger + Objects), run: &Run) -> Result<Account, TaskError> {
    let Some(file) = &run.plan else {
        return Ok(Account {
            frozen: None,
            work: None,
            accounts: Vec::new(),
            counts: Counts::default(),
        });
    };
    let frozen = read_plan(ports, file).await?;
    let work = match &run.work {
        Some(file) => Some(read_json(ports, file).await?),
        None => None,
    };
    let (observed, _) = recorded(ports, &run.run_id).await?;
    let accounts = match run.skip {
        Some(_) => Vec::new(),
        None => account(
            &frozen.plan,
            frozen.only.as_deref(),
            work.as_ref(),
            &observed,
            run.cause.as_ref(),
        ),
    };
    let counts = Counts::of(&accounts, frozen.plan.disabled.len());
    Ok(Account {
        frozen: Some(frozen),
        work,
        accounts,
        counts,
    })
}

/// Fixes the outcome and queues the notice, in one transaction.
async fn fix(
    ports: &(impl Ledger + Objects + Metrics + Clock),
    run: Versioned<Run>,
) -> Result<Versioned<Run>, TaskError> {
    let account = read_account(ports, &run.value).await?;
    let outcome = outcome(&run.value, &account.counts);
    let mut after = run.value.clone();
    after.outcome = Some(outcome);
    let next = chained(ports, &after, outcome, &account).await?;
    let skips = skips_in_a_row(ports, &after).await?;
    let timed_out = after.skip.is_some() && after.queue_until.is_some();
    let mut writes = vec![run.replace(&after)];
    if wanted(after.notify, outcome, account.counts.rows, skips, timed_out) {
        let plan = account.frozen.as_ref().map(|frozen| &frozen.plan);
        let told = Told {
            run: &after,
            outcome,
            counts: &account.counts,
            accounts: &account.accounts,
            disabled: plan.map_or(&[], |plan| &plan.disabled),
            not_applicable: plan.map_or(&[], |plan| &plan.not_applicable),
            next: next.as_ref().map(|next| next.pipeline.as_str()),
            now: ports.now(),
        };
        writes.push(record::create(
            record::outbox(&after.run_id, "notice"),
            &notice(&told),
        ));
    }
    // Before the outcome is fixed: a number told twice is better than none.
    ports.record(&metric::of_outcome(&after, outcome, &account.counts));
    ports.write(&writes).await?;
    log_failures(&account.accounts);
    Ok(Versioned {
        version: run.version + 1,
        value: after,
        ..run
    })
}

/// Tables that a log names of one run.
const TABLES_LOGGED_MAX: usize = 100;

fn log_failures(accounts: &[StepAccount]) {
    let failed = accounts.iter().filter_map(|account| match &account.end {
        StepEnd::Failed(failure) => Some((&account.name, failure)),
        StepEnd::Succeeded(_) | StepEnd::NoChanges | StepEnd::NotRun(_) => None,
    });
    for (table, failure) in failed.take(TABLES_LOGGED_MAX) {
        tracing::info!(table, error = failure.error, "{}", failure.message);
    }
}

async fn skips_in_a_row(ledger: &impl Ledger, run: &Run) -> Result<u32, TaskError> {
    let admissions: Option<Versioned<Admissions>> =
        record::get(ledger, &record::admission(&run.input.identifier)).await?;
    Ok(admissions
        .and_then(|read| {
            read.value
                .skipped_in_a_row
                .get(&run.input.pipeline)
                .copied()
        })
        .unwrap_or(0))
}

/// The start input of the chained run, if its condition holds.
async fn chained(
    ports: &(impl Ledger + Objects),
    run: &Run,
    outcome: Outcome,
    account: &Account,
) -> Result<Option<StartInput>, TaskError> {
    let Some(frozen) = &account.frozen else {
        return Ok(None);
    };
    let Some(resumed) = &run.input.resumes else {
        return Ok(next(run, &run.input, &frozen.plan, outcome, true));
    };
    let asked = record::get_run(ports, resumed).await?.value.input;
    let complete = family_complete(ports, resumed, frozen, account).await?;
    Ok(next(run, &asked, &frozen.plan, outcome, complete))
}

/// Whether every enabled step that the resumed run was about has a success there, in its other resumes, or in this one.
async fn family_complete(
    ports: &(impl Ledger + Objects),
    resumed: &str,
    frozen: &Frozen,
    account: &Account,
) -> Result<bool, TaskError> {
    let left = left(ports, resumed, &frozen.plan).await?;
    let well = |name: &String| {
        account
            .accounts
            .iter()
            .any(|account| account.name == *name && well(&account.end))
    };
    Ok(left.iter().all(well))
}

/// The steps of a plan without a success in a run and its resumes, as far as that run was limited to them.
pub async fn left(
    ports: &(impl Ledger + Objects),
    root: &str,
    plan: &Plan,
) -> Result<Vec<String>, TaskError> {
    let family = family(ports, root).await?;
    let done = done(ports, &family).await?;
    let only = family.first().and_then(|root| root.input.only.as_ref());
    let steps = plan.steps.iter().map(|step| &step.name);
    let faulty = plan.faulty.iter().map(|faulty| &faulty.name);
    Ok(steps
        .chain(faulty)
        .filter(|name| only.is_none_or(|only| only.contains(name)))
        .filter(|name| !done.contains(name))
        .cloned()
        .collect())
}

fn well(end: &StepEnd) -> bool {
    match end {
        StepEnd::Succeeded(_) | StepEnd::NoChanges => true,
        StepEnd::Failed(_) | StepEnd::NotRun(_) => false,
    }
}

/// A run and its resumes, in order.
pub async fn family(ledger: &impl Ledger, root: &str) -> Result<Vec<Run>, TaskError> {
    let mut family = vec![record::get_run(ledger, root).await?.value];
    let resumes: Vec<Versioned<String>> =
        record::list_of_run(ledger, root, record::RESUME_PREFIX).await?;
    for resume in resumes {
        // One that was asked for and did not begin has done nothing.
        let run: Option<Versioned<Run>> = record::get(ledger, &record::run(&resume.value)).await?;
        family.extend(run.map(|run| run.value));
    }
    Ok(family)
}

/// Names of the steps that succeeded in one of these runs, or had nothing to do.
pub async fn done(
    ports: &(impl Ledger + Objects),
    family: &[Run],
) -> Result<Vec<String>, TaskError> {
    let mut done = Vec::new();
    for run in family {
        let succeeded = record::results(ports, &run.run_id)
            .await?
            .into_iter()
            .filter(|result| matches!(result.value.outcome, StepOutcome::Succeeded(_)));
        done.extend(succeeded.map(|result| result.value.name));
        if let Some(file) = &run.work {
            done.extend(read_json::<Work>(ports, file).await?.no_changes);
        }
    }
    Ok(done)
}

/// Tells every open cluster to terminate, and sees which are gone.
async fn clean(
    ports: &(impl Ledger + Clusters + Clock),
    run: Versioned<Run>,
) -> Result<Versioned<Run>, TaskError> {
    let now = ports.now();
    let mut after = run.value.clone();
    for cluster in after
        .clusters
        .iter_mut()
        .filter(|cluster| cluster.closed.is_none())
    {
        let Some(id) = &cluster.id else {
            let found = by_name(ports, &cluster.name, cluster.intended).await?;
            cluster.id = found.first().map(|found| found.id.clone());
            if cluster.id.is_none() {
                cluster.closed = Some(now);
            }
            continue;
        };
        match ports.describe_cluster(id).await? {
            Some(seen) if !terminal(&seen.state) => ports.terminate_cluster(id).await?,
            seen => {
                cluster.closed = Some(now);
                cluster.reason = seen.and_then(|seen| seen.reason.or(seen.reason_code));
            }
        }
    }
    notice_stuck(ports, &after, now).await?;
    if after == run.value {
        Ok(run)
    } else {
        replace(ports, run, after).await
    }
}

/// A second notice for a cluster that should have gone long ago. Its id keeps it from being queued twice.
async fn notice_stuck(ledger: &impl Ledger, run: &Run, now: Timestamp) -> Result<(), TaskError> {
    let minutes = run
        .closing
        .map_or(0, |closing| now.seconds_since(closing) / 60);
    let open = run
        .clusters
        .iter()
        .find(|cluster| cluster.closed.is_none())
        .and_then(|cluster| cluster.id.as_ref());
    let Some(id) = open.filter(|_| minutes >= TERMINATION_MINUTES_MAX) else {
        return Ok(());
    };
    let (queued, sent) = (
        record::outbox(&run.run_id, "stuck"),
        record::sent(&run.run_id, "stuck"),
    );
    if ledger.get(&queued).await?.is_none() && ledger.get(&sent).await?.is_none() {
        ledger
            .write(&[record::create(queued, &stuck_cluster(run, id, minutes))])
            .await?;
    }
    Ok(())
}

/// The terminal status, the admission record without the run, and the chain, in one transaction.
async fn end(
    ports: &(impl Ledger + Objects + Metrics + Clock),
    run: Versioned<Run>,
) -> Result<Versioned<Run>, TaskError> {
    let account = read_account(ports, &run.value).await?;
    let Some(outcome) = run.value.outcome else {
        return Ok(run);
    };
    let mut after = run.value.clone();
    after.status = RunStatus::Ended;
    after.ended = Some(ports.now());
    let mut writes = vec![run.replace(&after)];
    if let Some(open) = record::get::<String>(ports, &record::open(&after.run_id)).await? {
        writes.push(open.delete());
    }
    writes.extend(leave(ports, &after).await?);
    if let Some(next) = chained(ports, &after, outcome, &account).await? {
        writes.push(record::create(
            record::outbox(&after.run_id, "chain"),
            &next,
        ));
    }
    let key = record::complete(&after.input.identifier);
    let before: Option<Versioned<Timestamp>> = record::get(ports, &key).await?;
    let known = before.as_ref().map(|before| before.value);
    let moved = complete_through(&after, outcome, &account)
        .filter(|heartbeat| known.is_none_or(|known| known < *heartbeat));
    writes.extend(moved.map(|heartbeat| record::upsert(key, before.as_ref(), &heartbeat)));
    ports.record(&metric::of_end(&after, moved.or(known), ports.now()));
    ports.write(&writes).await?;
    Ok(Versioned {
        version: run.version + 1,
        value: after,
        ..run
    })
}

async fn leave(ledger: &impl Ledger, run: &Run) -> Result<Option<LedgerWrite>, TaskError> {
    let admissions: Option<Versioned<Admissions>> =
        record::get(ledger, &record::admission(&run.input.identifier)).await?;
    Ok(admissions.and_then(|read| {
        let left = read.value.clone().leave(&run.run_id);
        (left != read.value).then(|| read.replace(&left))
    }))
}

/// Up to when a change-driven run that covered every table makes its identifier complete; that never moves back.
fn complete_through(run: &Run, outcome: Outcome, account: &Account) -> Option<Timestamp> {
    let heartbeat = account.work.as_ref().and_then(|work| work.heartbeat);
    match (outcome, &run.input.only) {
        (Outcome::Succeeded, None) => heartbeat,
        (_, _) => None,
    }
}
