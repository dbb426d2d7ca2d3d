//! One attempt of one step: verify the plan, claim, work while it may, and write the result to the ledger.

#[cfg(all(test, feature = "aws"))]
mod tests;

use crate::context::Guard;
use crate::failure::Failure;
use crate::job::Job;
use crate::spark::Submit;
use crate::tally::Tally;
use crate::world::World;
use crate::{busy, load, merge, program, seed};
use futures::FutureExt;
use pipeline::plan::{Frozen, Plan, PlannedStep, StepWork};
use pipeline::report::{StepOutcome, StepReport, StepResult};
use pipeline::run::FileRef;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tasks::port::Clock;
use tasks::step::{
    Claim, GUARD_INTERVAL_SECONDS, Stop, claim, complete_through, may_go_on, read_plan,
    record_result,
};

#[derive(clap::Args)]
pub struct Arguments {
    /// URI of the run's frozen plan
    #[arg(long)]
    plan: String,
    /// sha256 of the plan's bytes
    #[arg(long)]
    sha256: String,
    /// Index of the step in the plan
    #[arg(long)]
    index: u32,
    /// Attempt at this step, from 1
    #[arg(long)]
    attempt: u32,
    /// Where state, lake and secrets of this machine are; without it the step is one of the stack that the environment names
    #[arg(long, env = "HEADWATER_HOME", value_name = "DIR")]
    home: Option<PathBuf>,
}

/// Runs the step. The exit code says whether it succeeded; the result in the ledger says more.
pub fn command(arguments: Arguments) -> ExitCode {
    let ended = tokio::runtime::Runtime::new()
        .map_err(|error| {
            Failure::new("NoThreads", "the worker cannot start threads").caused_by(&error)
        })
        .and_then(|runtime| {
            runtime.block_on(async {
                let world = World::open(arguments.home.as_deref()).await?;
                attempt(Arc::new(world), arguments).await
            })
        });
    match ended {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{}", failure.text());
            ExitCode::FAILURE
        }
    }
}

async fn attempt(world: Arc<World>, arguments: Arguments) -> Result<ExitCode, Failure> {
    let _busy = busy::keep(Path::new(busy::FOLDER));
    let file = FileRef {
        uri: arguments.plan,
        sha256: arguments.sha256,
    };
    let frozen = read_plan(&*world, &file)
        .await
        .map_err(|error| Failure::new("PlanUnreadable", error.to_string()))?;
    let step = planned(&frozen.plan, arguments.index)?;
    let claim = claim(&*world, &frozen.run_id, arguments.index, arguments.attempt)
        .await
        .map_err(stopped)?;
    let started = claim.at;
    let tally = Tally::start(world.clone(), &frozen.run_id, &step.name);
    let watch = Claimed {
        world: world.clone(),
        claim,
    };
    watch.clone().exit_when_over();
    let worked = AssertUnwindSafe(work(&world, &frozen, step, &watch, &tally))
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
    tally.finish();
    let succeeded = worked.is_ok();
    let outcome = match worked {
        Ok(report) => StepOutcome::Succeeded(report),
        Err(failure) => {
            eprintln!("{}", failure.text());
            StepOutcome::Failed(failure.into())
        }
    };
    let result = StepResult {
        schema_version: 1,
        run_id: frozen.run_id.clone(),
        index: arguments.index,
        name: step.name.clone(),
        attempt: arguments.attempt,
        started,
        ended: world.now(),
        outcome,
    };
    record_result(&*world, &result).await.map_err(stopped)?;
    Ok(if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn planned(plan: &Plan, index: u32) -> Result<&PlannedStep, Failure> {
    plan.steps.get(index as usize).ok_or_else(|| {
        Failure::new(
            "PlanUnreadable",
            format!(
                "the plan has {} steps, none of index {index}",
                plan.steps.len()
            ),
        )
    })
}

async fn work(
    world: &World,
    frozen: &Frozen,
    step: &PlannedStep,
    guard: &impl Guard,
    progress: &Tally,
) -> Result<StepReport, Failure> {
    let job = Job {
        run_id: &frozen.run_id,
        plan: &frozen.plan,
        secrets: world.secrets(),
    };
    match &step.work {
        StepWork::Load(work) => load::run(&job, work, guard, progress).await,
        StepWork::Seed(work) => seed::run(world, &job, work, guard, progress).await,
        StepWork::Merge(work) => merge::run(world, &job, work, guard, progress).await,
        StepWork::Program { arguments } => program(world, &job, arguments, guard).await,
        StepWork::SparkSubmit {
            arguments,
            table,
            load,
        } => {
            let submit = Submit::new(&job, arguments);
            match (load, table) {
                (Some(load), _) => load::spark::run(&submit, load, guard, progress).await,
                (None, Some(work)) if frozen.plan.kind.change_driven() => {
                    merge::spark::run(world, &submit, work, guard, progress).await
                }
                (None, Some(work)) => seed::spark::run(world, &submit, work, guard, progress).await,
                (None, None) => program(world, &job, arguments, guard).await,
            }
        }
    }
}

async fn program(
    world: &World,
    job: &Job<'_>,
    arguments: &[String],
    guard: &impl Guard,
) -> Result<StepReport, Failure> {
    let complete_through = complete_through(world, &job.plan.identifier)
        .await
        .map_err(|error| Failure::new("LedgerUnreachable", error.to_string()))?;
    program::run(job, arguments, complete_through, guard).await
}

fn stopped(stop: Stop) -> Failure {
    let error = match &stop {
        Stop::Cancelled(_) => "Cancelled",
        Stop::NotAdmitted(_) => "NotAdmitted",
        Stop::Claimed { .. } => "Claimed",
        Stop::Ledger(_) => "LedgerUnreachable",
    };
    Failure::new(error, stop.to_string())
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Failure {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    Failure::new("WorkerPanicked", format!("the worker broke off: {text}"))
        .hint("this is a fault of headwater: the step's stderr has the place")
}

/// An attempt that was let in.
#[derive(Clone)]
struct Claimed {
    world: Arc<World>,
    claim: Claim,
}

impl Guard for Claimed {
    async fn may_commit(&self) -> Result<(), Failure> {
        may_go_on(&*self.world, &self.claim).await.map_err(stopped)
    }
}

impl Claimed {
    /// Looks now and then whether the attempt may go on, and ends this process when it may not: whatever it was doing is redone
    /// or undone as after a crash. A ledger that cannot be reached is waited for; no commit passes the guard meanwhile.
    fn exit_when_over(self) {
        // The clients of AWS work on this runtime: one that comes and goes would take their connections with it.
        let runtime = tokio::runtime::Handle::current();
        std::thread::spawn(move || {
            let interval = std::time::Duration::from_secs(GUARD_INTERVAL_SECONDS);
            loop {
                std::thread::sleep(interval);
                match runtime.block_on(may_go_on(&*self.world, &self.claim)) {
                    Ok(()) | Err(Stop::Ledger(_)) => {}
                    // Who watches the program ends it first.
                    Err(_) if program::is_watched() => {}
                    Err(stop) => {
                        eprintln!("{}", stopped(stop).text());
                        std::process::exit(1);
                    }
                }
            }
        });
    }
}
