//! Everything that a run will do, decided before anything is done: the types. `plan()` makes one from items.

use crate::path::{TableName, Zones};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of `Plan`'s JSON form; tasks read this one and the one before.
pub const PLAN_SCHEMA_VERSION: u32 = 1;

/// What a run of one pipeline will do. It does not depend on the run: `{run_id}` stands in text where a run's id belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub schema_version: u32,
    pub identifier: String,
    /// `jdbc_load`, `seed_hudi`, `incremental_hudi`, `continuous_hudi` or the name of a custom pipeline.
    pub pipeline: String,
    pub kind: PipelineKind,
    /// The pipeline's engine; a step may have another.
    pub engine: Engine,
    pub target: Target,
    pub zones: Zones,
    pub source: Source,
    pub policy: Policy,
    pub cluster: ClusterSpec,
    /// In order of name; a step's index here is its index in arguments, claims and results.
    pub steps: Vec<PlannedStep>,
    /// Tables whose own item is faulty: they fail, the others run.
    pub faulty: Vec<FaultyStep>,
    /// Names of steps that are switched off.
    pub disabled: Vec<String>,
    /// Tables that this pipeline has nothing to do with: without `hudi_config` a table can only be loaded.
    pub not_applicable: Vec<NotApplicable>,
    /// Table paths that this run writes and therefore locks, sorted, without repetition.
    pub writes: Vec<String>,
    pub next: Next,
    /// sha256 of the normalised items that this plan was made from.
    pub generation: String,
    /// sha256 of each artifact that will run, by name; empty on the local target, where the code is the caller's own.
    pub code: BTreeMap<String, String>,
}

impl Plan {
    /// The one JSON form of a plan: members in the order of the type, names of maps sorted.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        // Writing to memory a value whose map keys are all text cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// sha256 of the canonical form, as 64 hexadecimal digits.
    pub fn sha256(&self) -> String {
        crate::normal::sha256(&self.canonical_bytes())
    }
}

/// A step that is switched on, but not for this pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotApplicable {
    pub name: String,
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PipelineKind {
    JdbcLoad,
    SeedHudi,
    IncrementalHudi,
    ContinuousHudi,
    Custom,
}

impl PipelineKind {
    /// Whether the work is found in change files.
    pub fn change_driven(self) -> bool {
        match self {
            Self::IncrementalHudi | Self::ContinuousHudi => true,
            Self::JdbcLoad | Self::SeedHudi | Self::Custom => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    Spark,
    Native,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Aws,
    Local,
}

/// Where the data comes from. The secret is a name, never a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub secret: String,
    /// `<db>` in bronze paths.
    pub db: String,
    pub capture: Capture,
    /// An incremental or continuous pipeline exists and capture is not `none`: a load must be covered by capture.
    pub changes_follow: bool,
    pub capture_silent_minutes: u32,
    /// Taken off T0, for a capture whose clock is not the source's.
    pub clock_skew_minutes: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    pub kind: CaptureKind,
    pub slot: String,
    /// The DMS task, part of the epoch's identity.
    pub task: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureKind {
    Dms,
    Headwater,
    None,
}

/// How a run behaves as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub on_step_failure: OnStepFailure,
    pub notify: Notify,
    /// `None`: decided by the trigger (chained, manual and resumed runs queue).
    pub overlap: Option<Overlap>,
    /// Pipelines of the same identifier that may run beside this one.
    pub allowed_concurrent: Vec<String>,
    pub timeout_minutes: u32,
    pub queue_minutes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnStepFailure {
    Continue,
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notify {
    All,
    Changes,
    Failures,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    Skip,
    Queue,
}

/// What starts after this run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    Stop,
    Start { pipeline: String, on: NextOn },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NextOn {
    Succeeded,
    Partial,
}

/// The cluster of a run, as the request that creates it carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSpec {
    /// Steps at once.
    pub step_concurrency: u32,
    pub idle_timeout_seconds: u32,
    /// The RunJobFlow request of the AWS API, without `Name`, as canonical JSON with the API's member names; `null` on the local target.
    pub run_job_flow: serde_json::Value,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedStep {
    /// `<schema>.<table>`, or the name of a custom step.
    pub name: String,
    pub engine: Engine,
    /// `None` for custom steps.
    pub table: Option<TableName>,
    /// Table paths that this step writes.
    pub writes: Vec<String>,
    /// Indexes of steps that must have succeeded first.
    pub after: Vec<u32>,
    pub work: StepWork,
    /// Things that a reader of the plan should know (bounds that are not needed, an operation that duplicates).
    pub notes: Vec<String>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepWork {
    /// spark-submit and its complete argument list. The worker replaces these tokens:
    /// `{run_id}`: this run. `{load_run_id}`: the run whose load is seeded. `{generation}`: the folder of the published
    /// generation (`g=<run_id>`). `{t0}`: the load's T0 as 35 digits. `{change_files}`: the URI of a file that the worker
    /// writes beside the plan, with one Spark SQL query over the change files that it chose, which drops redeliveries and all but
    /// the newest change of each key. `{reading}`: the path of a file that the worker writes on its machine: what to read over JDBC,
    /// and under which snapshot. `{secret_file}`: the file of the source's secret, on the local target.
    SparkSubmit {
        arguments: Vec<String>,
        /// Of a seed or a merge.
        table: Option<TableWork>,
        /// Of a load.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        load: Option<JdbcLoad>,
    },
    /// A program and its arguments, with `HEADWATER_*` in its environment. `{run_id}` is replaced.
    Program {
        arguments: Vec<String>,
    },
    Load(Load),
    Seed(TableWork),
    Merge(TableWork),
}

/// A full load of one table into `run=<run_id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    pub source: TableName,
    /// The folder of all loads of this table.
    pub loads: String,
    /// Connections at once for one table.
    pub parallelism: u32,
    /// Changes of this table are to be merged later: capture must cover its load.
    pub changes_follow: bool,
}

/// A full load by Spark's JDBC source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JdbcLoad {
    pub load: Load,
    /// SQL that is read in place of the table, as it stands after FROM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<String>,
    /// Options of Spark's JDBC source as the item has them, with names in lower case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// A silver table and where its rows come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableWork {
    pub identifier: String,
    pub source: TableName,
    /// The name of the lake table (`<prefix>_<schema>_<table>`, unless overridden).
    pub target_table: String,
    /// The folder of all loads of this table.
    pub loads: String,
    /// The folder of its change files.
    pub changes: String,
    /// The logical table, where its generations and `_published.json` are; key of the position record.
    pub silver: String,
    pub primary_key: Vec<String>,
    pub partitioning: Partitioning,
    /// The streamer's operation in change-driven pipelines.
    pub operation: WriteOperation,
    pub table_type: TableType,
    /// Options of the Hudi table, sorted.
    pub hudi_options: BTreeMap<String, String>,
}

impl TableWork {
    /// The command that loads, seeds and merges this table anew, as a shell reads it.
    pub fn reload(&self) -> String {
        format!(
            "headwater reload --identifier {} {}",
            quoted(&self.identifier),
            quoted(&self.source.to_string())
        )
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partitioning {
    None,
    By(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteOperation {
    Upsert,
    Insert,
    BulkInsert,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableType {
    CopyOnWrite,
    MergeOnRead,
}

/// A step whose item has mistakes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultyStep {
    pub name: String,
    /// The mistakes as a person reads them, each with key, path, found, expected and hint.
    pub problems: Vec<String>,
}

/// A plan as a run froze it. Its sha256 is that of its exact bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frozen {
    pub schema_version: u32,
    pub run_id: String,
    /// The run that began the chain or the family of resumes.
    pub root_run_id: String,
    /// Limits the run to these steps (resume, reload, `--table`); `None` means all.
    pub only: Option<Vec<String>>,
    pub plan: Plan,
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_command_of_a_hint_can_be_pasted_into_a_shell() {
        for (word, expected) in [
            ("public.orders", "public.orders"),
            ("My Schema.Order Items", "'My Schema.Order Items'"),
            ("public.it's; rm", r"'public.it'\''s; rm'"),
            ("public.$x", "'public.$x'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
