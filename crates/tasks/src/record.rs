//! The ledger's records: their keys, and typed reading and writing. Only this module knows how a key is spelt.

use crate::error::TaskError;
use crate::port::{Change, Expect, Ledger, LedgerEntry, LedgerKey, LedgerWrite};
use crate::step::Claim;
use pipeline::report::StepResult;
use pipeline::run::Run;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn key(partition: impl Into<String>, sort: impl Into<String>) -> LedgerKey {
    LedgerKey {
        partition: partition.into(),
        sort: sort.into(),
    }
}

fn run_partition(run_id: &str) -> String {
    format!("run#{run_id}")
}

/// What workers write about a run is apart from what tasks write: on AWS a role may write by partition.
fn steps_partition(run_id: &str) -> String {
    format!("steps#{run_id}")
}

/// RUN.
pub fn run(run_id: &str) -> LedgerKey {
    key(run_partition(run_id), "run")
}

/// Partition of the runs that have not ended; sort key is the run id.
pub const OPEN: &str = "open";

/// One entry per run that has not ended.
pub fn open(run_id: &str) -> LedgerKey {
    key(OPEN, run_id)
}

/// Partition of all runs of an identifier, in order of time.
pub fn runs_partition(identifier: &str) -> String {
    format!("runs#{identifier}")
}

/// Entry of a run in its identifier's list.
pub fn runs(run: &Run) -> LedgerKey {
    key(
        runs_partition(&run.input.identifier),
        format!("{:015}#{}", run.received.0, run.run_id),
    )
}

/// Partition of the admission records; sort key is the identifier.
pub const ADMISSION: &str = "admission";

/// The admission record of an identifier.
pub fn admission(identifier: &str) -> LedgerKey {
    key(ADMISSION, identifier)
}

/// The steps of one submission, written before they are submitted.
pub fn wave(run_id: &str, number: u32) -> LedgerKey {
    key(run_partition(run_id), format!("wave#{number:05}"))
}

pub const WAVE_PREFIX: &str = "wave#";

/// The claim of one attempt of a step.
pub fn claim(run_id: &str, index: u32, attempt: u32) -> LedgerKey {
    key(
        steps_partition(run_id),
        format!("{CLAIM_PREFIX}{index:05}#{attempt:03}"),
    )
}

const CLAIM_PREFIX: &str = "claim#";

/// The result of one attempt of a step.
pub fn result(run_id: &str, index: u32, attempt: u32) -> LedgerKey {
    key(
        steps_partition(run_id),
        format!("{RESULT_PREFIX}{index:05}#{attempt:03}"),
    )
}

const RESULT_PREFIX: &str = "result#";

/// Partition of what is still to be sent.
pub const OUTBOX: &str = "outbox";

/// Something to send for a run: `notice`, `chain` ...
pub fn outbox(run_id: &str, what: &str) -> LedgerKey {
    key(OUTBOX, format!("{run_id}#{what}"))
}

/// That it was sent.
pub fn sent(run_id: &str, what: &str) -> LedgerKey {
    key(run_partition(run_id), format!("sent#{what}"))
}

/// The n-th resume of a run.
pub fn resume(run_id: &str, number: u32) -> LedgerKey {
    key(run_partition(run_id), format!("{RESUME_PREFIX}{number:05}"))
}

pub const RESUME_PREFIX: &str = "resume#";

/// Position record of a logical silver table.
pub fn position(silver: &str) -> LedgerKey {
    key("position", silver)
}

/// The source time up to which all tables of an identifier are complete.
pub fn complete(identifier: &str) -> LedgerKey {
    key("complete", identifier)
}

/// A record read with its version.
#[derive(Debug, Clone, PartialEq)]
pub struct Versioned<T> {
    pub key: LedgerKey,
    pub version: u64,
    pub value: T,
}

impl<T: Serialize> Versioned<T> {
    /// The write that replaces the record, if nobody else did.
    pub fn replace(&self, value: &T) -> LedgerWrite {
        LedgerWrite {
            key: self.key.clone(),
            expect: Expect::Version(self.version),
            change: Change::Put(json(value)),
        }
    }
}

impl<T> Versioned<T> {
    /// The write that fails when the record has changed.
    pub fn unchanged(&self) -> LedgerWrite {
        LedgerWrite {
            key: self.key.clone(),
            expect: Expect::Version(self.version),
            change: Change::Check,
        }
    }

    /// The write that removes the record.
    pub fn delete(&self) -> LedgerWrite {
        LedgerWrite {
            key: self.key.clone(),
            expect: Expect::Version(self.version),
            change: Change::Delete,
        }
    }
}

/// The write that makes a record where there is none.
pub fn create(key: LedgerKey, value: &impl Serialize) -> LedgerWrite {
    LedgerWrite {
        key,
        expect: Expect::Absent,
        change: Change::Put(json(value)),
    }
}

/// The write that makes or replaces a record, as it was read.
pub fn upsert<T: Serialize>(key: LedgerKey, read: Option<&Versioned<T>>, value: &T) -> LedgerWrite {
    match read {
        Some(record) => record.replace(value),
        None => create(key, value),
    }
}

/// Reads one record.
pub async fn get<T: DeserializeOwned>(
    ledger: &impl Ledger,
    key: &LedgerKey,
) -> Result<Option<Versioned<T>>, TaskError> {
    ledger.get(key).await?.map(parse).transpose()
}

/// Reads records in order of their sort keys.
pub async fn list<T: DeserializeOwned>(
    ledger: &impl Ledger,
    partition: &str,
    sort_prefix: &str,
) -> Result<Vec<Versioned<T>>, TaskError> {
    ledger
        .list(partition, sort_prefix)
        .await?
        .into_iter()
        .map(parse)
        .collect()
}

/// Reads records of one run in order of their sort keys.
pub async fn list_of_run<T: DeserializeOwned>(
    ledger: &impl Ledger,
    run_id: &str,
    sort_prefix: &str,
) -> Result<Vec<Versioned<T>>, TaskError> {
    list(ledger, &run_partition(run_id), sort_prefix).await
}

/// The results of a run's steps, in order of step and attempt.
pub async fn results(
    ledger: &impl Ledger,
    run_id: &str,
) -> Result<Vec<Versioned<StepResult>>, TaskError> {
    list(ledger, &steps_partition(run_id), RESULT_PREFIX).await
}

/// The claims of a run's steps, in order of step and attempt.
pub async fn claims(
    ledger: &impl Ledger,
    run_id: &str,
) -> Result<Vec<Versioned<Claim>>, TaskError> {
    list(ledger, &steps_partition(run_id), CLAIM_PREFIX).await
}

/// RUN, which must be there.
pub async fn get_run(ledger: &impl Ledger, run_id: &str) -> Result<Versioned<Run>, TaskError> {
    get(ledger, &run(run_id))
        .await?
        .ok_or_else(|| TaskError::BadInput(format!("there is no run `{run_id}`")))
}

fn parse<T: DeserializeOwned>(entry: LedgerEntry) -> Result<Versioned<T>, TaskError> {
    let LedgerEntry { key, version, body } = entry;
    match serde_json::from_value(body) {
        Ok(value) => Ok(Versioned {
            key,
            version,
            value,
        }),
        Err(error) => Err(TaskError::Corrupt(format!(
            "ledger record `{key}` is not of its form: {error}"
        ))),
    }
}

fn json(value: &impl Serialize) -> serde_json::Value {
    // Records are structs of text, numbers and lists: they always have a JSON form.
    serde_json::to_value(value).unwrap_or(serde_json::Value::Null)
}
