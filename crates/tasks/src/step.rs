//! What the worker says to the ledger: the claim of an attempt, whether it may go on, and its result.

use crate::error::TaskError;
use crate::port::{Clock, Ledger, Objects, WriteError};
use crate::record;
use crate::state::read_json;
use pipeline::plan::Frozen;
use pipeline::report::StepResult;
use pipeline::run::{FileRef, Run, RunStatus};
use pipeline::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How often a write that another writer came before is tried anew. RUN changes a few times in a run's life.
const CONFLICT_RETRIES_MAX: u32 = 20;

/// Seconds between two looks at whether an attempt may go on.
pub const GUARD_INTERVAL_SECONDS: u64 = 15;

/// One attempt of one step has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    pub run_id: String,
    pub index: u32,
    pub attempt: u32,
    pub fence: u64,
    pub at: Timestamp,
}

/// Why an attempt may not begin, go on, or be recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    #[error("run `{0}` was cancelled")]
    Cancelled(String),
    #[error("run `{0}` is no longer admitted")]
    NotAdmitted(String),
    #[error("attempt {attempt} of step {index} was claimed already")]
    Claimed { index: u32, attempt: u32 },
    #[error(transparent)]
    Ledger(#[from] TaskError),
}

/// The frozen plan, if its bytes have this sha256.
pub async fn read_plan(objects: &impl Objects, file: &FileRef) -> Result<Frozen, TaskError> {
    read_json(objects, file).await
}

/// Claims one attempt; from here until its result it may write.
pub async fn claim(
    ports: &(impl Ledger + Clock),
    run_id: &str,
    index: u32,
    attempt: u32,
) -> Result<Claim, Stop> {
    for _ in 0..CONFLICT_RETRIES_MAX {
        let run = record::get_run(ports, run_id).await?;
        let fence = fence(&run.value)?;
        let claim = Claim {
            run_id: run_id.to_owned(),
            index,
            attempt,
            fence,
            at: ports.now(),
        };
        let key = record::claim(run_id, index, attempt);
        match ports
            .write(&[record::create(key.clone(), &claim), run.unchanged()])
            .await
        {
            Ok(()) => return Ok(claim),
            Err(WriteError::Conflict(_)) => match record::get::<Claim>(ports, &key).await? {
                Some(_) => return Err(Stop::Claimed { index, attempt }),
                None => continue,
            },
            Err(WriteError::Port(error)) => return Err(TaskError::from(error).into()),
        }
    }
    Err(TaskError::Conflict(format!("run `{run_id}` keeps changing")).into())
}

/// Whether the attempt that holds this claim may still write.
pub async fn may_go_on(ledger: &impl Ledger, claim: &Claim) -> Result<(), Stop> {
    let run = record::get_run(ledger, &claim.run_id).await?;
    if fence(&run.value)? == claim.fence {
        Ok(())
    } else {
        Err(Stop::NotAdmitted(claim.run_id.clone()))
    }
}

/// Writes the result of an attempt, while its run is still admitted. Writing it again is harmless.
pub async fn record_result(ledger: &impl Ledger, result: &StepResult) -> Result<(), Stop> {
    let key = record::result(&result.run_id, result.index, result.attempt);
    for _ in 0..CONFLICT_RETRIES_MAX {
        let run = record::get_run(ledger, &result.run_id).await?;
        if run.value.status != RunStatus::Admitted {
            return Err(Stop::NotAdmitted(result.run_id.clone()));
        }
        match ledger
            .write(&[record::create(key.clone(), result), run.unchanged()])
            .await
        {
            Ok(()) => return Ok(()),
            Err(WriteError::Conflict(_)) => {
                if record::get::<StepResult>(ledger, &key).await?.is_some() {
                    return Ok(());
                }
            }
            Err(WriteError::Port(error)) => return Err(TaskError::from(error).into()),
        }
    }
    Err(TaskError::Conflict(format!("run `{}` keeps changing", result.run_id)).into())
}

/// The source time up to which all tables of an identifier are complete, where known.
pub async fn complete_through(
    ledger: &impl Ledger,
    identifier: &str,
) -> Result<Option<Timestamp>, TaskError> {
    Ok(
        record::get::<Timestamp>(ledger, &record::complete(identifier))
            .await?
            .map(|record| record.value),
    )
}

fn fence(run: &Run) -> Result<u64, Stop> {
    if run.cancel.is_some() {
        return Err(Stop::Cancelled(run.run_id.clone()));
    }
    match (run.status, run.fence) {
        (RunStatus::Admitted, Some(fence)) => Ok(fence),
        _ => Err(Stop::NotAdmitted(run.run_id.clone())),
    }
}
