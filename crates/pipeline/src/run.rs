//! A run: who asked for it, what it is called, how far it is.

use crate::plan::{Notify, PipelineKind};
use crate::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de};
use sha2::{Digest, Sha256};

/// What starts an execution: the input of the state machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartInput {
    pub identifier: String,
    pub pipeline: String,
    pub trigger: Trigger,
    /// The run that began the chain; absent for the run that begins one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_run_id: Option<String>,
    /// The run whose unfinished tables are resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumes: Option<String>,
    /// Runs before this one in the chain.
    #[serde(default)]
    pub depth: u32,
    /// Limits the run to these steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
    /// What follows this run.
    #[serde(default)]
    pub chain: Chain,
    /// Instead of the configured engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<crate::plan::Engine>,
}

/// Where the next pipeline of a run comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chain {
    /// From its `next_pipeline`.
    #[default]
    Configured,
    /// Load, seed and merge of the same tables, whatever is configured.
    Reload,
    /// Nothing follows.
    Stop,
}

/// Why a run exists. The same trigger delivered again has the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    pub kind: TriggerKind,
    /// The scheduled time, the root run's id, `resume:<run>:<n>`, or the caller's key.
    pub id: String,
    /// When a scheduled run was due: milliseconds, or a text as EventBridge Scheduler gives it.
    #[serde(
        default,
        deserialize_with = "due",
        skip_serializing_if = "Option::is_none"
    )]
    pub due: Option<Timestamp>,
    /// Minutes between two scheduled runs: a number, or the schedule's own expression.
    #[serde(
        default,
        deserialize_with = "interval_minutes",
        skip_serializing_if = "Option::is_none"
    )]
    pub interval_minutes: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText<T> {
    Number(T),
    Text(String),
}

fn due<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(match Option::deserialize(deserializer)? {
        None => None,
        Some(NumberOrText::Number(due)) => Some(due),
        Some(NumberOrText::Text(text)) => Some(Timestamp::parse(&text).ok_or_else(|| {
            de::Error::custom(format!("`{text}` is no time like `2026-01-31T06:00:00Z`"))
        })?),
    })
}

fn interval_minutes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Ok(match Option::deserialize(deserializer)? {
        None => None,
        Some(NumberOrText::Number(minutes)) => Some(minutes),
        Some(NumberOrText::Text(expression)) => minutes_between(&expression),
    })
}

/// Minutes of a `rate(…)`; other schedule expressions have no one interval.
fn minutes_between(expression: &str) -> Option<u32> {
    let rate = expression.strip_prefix("rate(")?.strip_suffix(')')?;
    let (number, unit) = rate.split_once(' ')?;
    let minutes = match unit {
        "minute" | "minutes" => 1,
        "hour" | "hours" => 60,
        "day" | "days" => 24 * 60,
        _ => return None,
    };
    number.parse::<u32>().ok()?.checked_mul(minutes)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerKind {
    Schedule,
    Manual,
    Chained,
    Resume,
}

/// Characters of a run id at most: it is an execution name (80), and part of cluster and file names.
pub const RUN_ID_CHARACTERS_MAX: usize = 61;
const SLUG_CHARACTERS_MAX: usize = 48;
const HASH_CHARACTERS: usize = 12;

/// `slug(identifier, pipeline) + hash(identifier, pipeline, trigger id)`: the same trigger is the same run.
pub fn run_id(identifier: &str, pipeline: &str, trigger_id: &str) -> String {
    let mut slug: String = format!("{identifier}-{pipeline}")
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        })
        .take(SLUG_CHARACTERS_MAX)
        .collect();
    slug = slug.trim_matches('-').to_owned();
    // Lengths keep ("a", "bc") and ("ab", "c") apart.
    let mut hash = Sha256::new();
    for part in [identifier, pipeline, trigger_id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    format!("{slug}-{}", &hex(&hash.finalize())[..HASH_CHARACTERS])
}

/// sha256 of bytes as 64 lower-case hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RUN: the ledger's record of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub schema_version: u32,
    pub run_id: String,
    pub input: StartInput,
    /// The execution that walks this run; another one with the same trigger is a duplicate.
    pub owner_execution: String,
    pub status: RunStatus,
    pub received: Timestamp,
    /// When waiting for admission ends.
    pub queue_until: Option<Timestamp>,
    pub admitted: Option<Timestamp>,
    /// The version of the admission record that admitted it.
    pub fence: Option<u64>,
    /// When it is given up.
    pub deadline: Option<Timestamp>,
    pub plan: Option<FileRef>,
    pub kind: Option<PipelineKind>,
    pub notify: Option<Notify>,
    /// What discovery found, frozen beside the plan.
    pub work: Option<FileRef>,
    /// The present cluster, and those before it.
    pub clusters: Vec<ClusterRecord>,
    /// When cancelling was asked for.
    pub cancel: Option<Timestamp>,
    /// The first root fault.
    pub cause: Option<Cause>,
    pub skip: Option<String>,
    pub outcome: Option<crate::outcome::Outcome>,
    pub closing: Option<Timestamp>,
    pub ended: Option<Timestamp>,
}

impl Run {
    /// The run that began the chain.
    pub fn root_run_id(&self) -> &str {
        self.input.root_run_id.as_deref().unwrap_or(&self.run_id)
    }

    pub fn cluster(&self) -> Option<&ClusterRecord> {
        self.clusters.last()
    }

    /// Keeps the first root fault: a later one never replaces it.
    pub fn blame(&mut self, cause: Cause) {
        self.cause.get_or_insert(cause);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunStatus {
    Received,
    Queued,
    Admitted,
    Closing,
    Ended,
}

/// A file and the sha256 of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRef {
    pub uri: String,
    pub sha256: String,
}

/// One attempt to have a cluster. Written before the cluster is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterRecord {
    pub attempt: u32,
    pub name: String,
    pub intended: Timestamp,
    /// `None` until an answer, or a listing, told it.
    pub id: Option<String>,
    /// When it was seen in a terminal state; for an attempt that got no cluster, when that was settled.
    pub closed: Option<Timestamp>,
    /// EMR's reason for its end.
    pub reason: Option<String>,
}

/// The name of a run's cluster in its n-th attempt.
pub fn cluster_name(stack: &str, run_id: &str, attempt: u32) -> String {
    format!("{stack}:{run_id}-c{attempt}")
}

/// The run of this stack that a cluster's name speaks of, and the attempt; `None` when it is not one of ours.
/// Neither a stack's name nor a run id contains the colon, so that no name is of two stacks.
pub fn cluster_run<'a>(stack: &str, name: &'a str) -> Option<(&'a str, u32)> {
    let run = name.strip_prefix(stack)?.strip_prefix(':')?;
    let (run_id, attempt) = run.rsplit_once("-c")?;
    Some((run_id, attempt.parse().ok()?))
}

/// A fault with a stable name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    pub error: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Cause {
    pub fn new(error: &str, message: impl Into<String>) -> Self {
        Self {
            error: error.to_owned(),
            message: message.into(),
            hint: None,
        }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What discovery found: frozen beside the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    pub schema_version: u32,
    /// Indexes of steps that have something to do, each after those that it needs.
    pub steps: Vec<u32>,
    /// Names of tables without changes.
    pub no_changes: Vec<String>,
    /// Tables that fail before any work.
    pub faulty: Vec<(String, Cause)>,
    /// Everything that the source committed before this is in change files; for change-driven pipelines.
    pub heartbeat: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_run_id_is_an_execution_name_and_tells_triggers_apart(
            identifier in ".{1,300}", pipeline in "[a-z_]{1,60}", a in ".{0,40}", b in ".{0,40}",
        ) {
            let id = run_id(&identifier, &pipeline, &a);
            prop_assert!(id.len() <= RUN_ID_CHARACTERS_MAX);
            prop_assert!(id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'));
            prop_assert_eq!(id == run_id(&identifier, &pipeline, &b), a == b);
            let name = cluster_name("lake", &id, 3);
            prop_assert_eq!(cluster_run("lake", &name), Some((id.as_str(), 3)));
            prop_assert_eq!(cluster_run("la", &name), None);
        }
    }

    #[test]
    fn a_trigger_is_read_as_the_scheduler_and_as_the_ledger_write_it() {
        let parse = |due: &str, interval: &str| -> Result<Trigger, serde_json::Error> {
            let text = format!(
                r#"{{"kind": "schedule", "id": "t", "due": {due}, "interval_minutes": {interval}}}"#
            );
            serde_json::from_str(&text)
        };
        let scheduled =
            parse(r#""2026-03-22T18:59:43Z""#, r#""rate(2 hours)""#).expect("a trigger");
        assert_eq!(scheduled.due, Timestamp::parse("2026-03-22T18:59:43Z"));
        assert_eq!(scheduled.interval_minutes, Some(120));
        let written = serde_json::to_string(&scheduled).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Trigger>(&written).expect("a trigger"),
            scheduled
        );
        let week = parse("null", r#""rate(7 days)""#).expect("a trigger");
        assert_eq!((week.due, week.interval_minutes), (None, Some(7 * 24 * 60)));
        let nightly = parse("0", r#""cron(0 3 * * ? *)""#).expect("a trigger");
        assert_eq!(nightly.interval_minutes, None);
        assert!(parse(r#""tomorrow""#, "1").is_err());
    }

    #[test]
    fn names_that_run_together_differ() {
        assert_ne!(run_id("a", "bc", "t"), run_id("ab", "c", "t"));
    }
}
