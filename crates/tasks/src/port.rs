//! What tasks need from the world. `local`, `sim` and `aws` implement it; a task names in its bounds just what it uses.
//!
//! Every port call may fail with nothing done, or be done with its answer lost: callers decide on observed state.

use pipeline::deployment::Deployment;
use pipeline::metric::Metric;
use pipeline::plan::ClusterSpec;
use pipeline::time::Timestamp;
use serde_json::Value;
use std::fmt;

/// Why a port call gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Refused before anything was done: try again later.
    #[error("{service} is throttled: {message}")]
    Throttled {
        service: &'static str,
        message: String,
    },
    /// It may or may not have been done.
    #[error("{service} gave no answer: {message}")]
    Unknown {
        service: &'static str,
        message: String,
    },
    /// It will not be done, however often it is asked.
    #[error("{service} refused: {message}")]
    Refused {
        service: &'static str,
        message: String,
    },
}

pub trait Clock {
    fn now(&self) -> Timestamp;
}

/// The configuration table.
#[allow(async_fn_in_trait)]
pub trait ConfigTable {
    /// All items of one identifier, by a consistent read, as plain JSON objects in order of `config`.
    async fn items(&self, identifier: &str) -> Result<Vec<Value>, PortError>;
}

/// Why there is no deployment to plan for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeploymentError {
    /// What is there is not one: each mistake in a line.
    #[error("{}", .0.join("\n"))]
    Faulty(Vec<String>),
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Where plans run: buckets, roles, subnets, and the sums of the code.
#[allow(async_fn_in_trait)]
pub trait Deployments {
    async fn deployment(&self) -> Result<Deployment, DeploymentError>;
}

/// The key of a ledger record: partition and sort key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerKey {
    pub partition: String,
    pub sort: String,
}

impl fmt::Display for LedgerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.partition, self.sort)
    }
}

/// A record and the version that a conditional write names; the first version is 1.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerEntry {
    pub key: LedgerKey,
    pub version: u64,
    pub body: Value,
}

/// What must be true of a record for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Absent,
    Version(u64),
}

/// One write of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerWrite {
    pub key: LedgerKey,
    pub expect: Expect,
    pub change: Change,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The record becomes this, with the next version.
    Put(Value),
    Delete,
    /// The record stays; the expectation must hold.
    Check,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// An expectation did not hold; nothing was written.
    #[error("`{0}` was changed by another writer")]
    Conflict(LedgerKey),
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Writes of one transaction at most (`TransactWriteItems`).
pub const LEDGER_WRITES_MAX: usize = 100;

/// The durable record of runs, admission, claims, results, positions and the outbox.
#[allow(async_fn_in_trait)]
pub trait Ledger {
    /// A consistent read.
    async fn get(&self, key: &LedgerKey) -> Result<Option<LedgerEntry>, PortError>;
    /// All records of a partition whose sort key begins so, in order of sort key.
    async fn list(&self, partition: &str, sort_prefix: &str)
    -> Result<Vec<LedgerEntry>, PortError>;
    /// All or nothing, and only if every expectation holds.
    async fn write(&self, writes: &[LedgerWrite]) -> Result<(), WriteError>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub uri: String,
    pub bytes: u64,
}

/// Small objects in buckets: plans, work lists, capture state; and the names of change files.
#[allow(async_fn_in_trait)]
pub trait Objects {
    /// `None` when there is no such object.
    async fn read(&self, uri: &str) -> Result<Option<Vec<u8>>, PortError>;
    /// Appears whole or not at all.
    async fn put(&self, uri: &str, bytes: &[u8]) -> Result<(), PortError>;
    /// All objects below `<uri>/`, at any depth, in order of URI.
    async fn list_objects(&self, uri: &str) -> Result<Vec<Object>, PortError>;
}

/// EMR's states of a cluster. A state that EMR adds is `Unrecognised`, and fails closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterState {
    Starting,
    Bootstrapping,
    Running,
    Waiting,
    Terminating,
    Terminated,
    TerminatedWithErrors,
    Unrecognised(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSummary {
    pub id: String,
    pub name: String,
    pub state: ClusterState,
    pub created: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    pub id: String,
    pub name: String,
    pub state: ClusterState,
    /// EMR's `StateChangeReason.Code`, for example `BOOTSTRAP_FAILURE`.
    pub reason_code: Option<String>,
    pub reason: Option<String>,
}

/// EMR's states of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepState {
    Pending,
    CancelPending,
    Running,
    Completed,
    Cancelled,
    Failed,
    Interrupted,
    Unrecognised(String),
}

/// A step to submit: a program on the primary node and its arguments, run by `command-runner`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRequest {
    pub name: String,
    pub arguments: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepSummary {
    pub id: String,
    pub name: String,
    pub state: StepState,
    /// EMR's failure details in one line, where it gives any.
    pub failure: Option<String>,
}

/// EMR, or its local likeness. No call here retries by itself.
#[allow(async_fn_in_trait)]
pub trait Clusters {
    /// RunJobFlow, without steps; gives the cluster's id. `tags` are key and value.
    async fn create_cluster(
        &self,
        name: &str,
        spec: &ClusterSpec,
        tags: &[(String, String)],
    ) -> Result<String, PortError>;
    /// A complete listing of the clusters created since then, in any state. It may miss some that change state meanwhile.
    async fn list_clusters(
        &self,
        created_since: Timestamp,
    ) -> Result<Vec<ClusterSummary>, PortError>;
    /// `None` when there is no such cluster.
    async fn describe_cluster(&self, id: &str) -> Result<Option<ClusterDescription>, PortError>;
    /// AddJobFlowSteps: at most 256 active steps in all; gives the steps' ids in order.
    async fn add_steps(&self, id: &str, steps: &[StepRequest]) -> Result<Vec<String>, PortError>;
    /// All steps of the cluster in any of these states; all states when the list is empty. Newest first.
    async fn list_steps(
        &self,
        id: &str,
        states: &[StepState],
    ) -> Result<Vec<StepSummary>, PortError>;
    /// CancelSteps: pending ones are dropped, running ones are ended.
    async fn cancel_steps(&self, id: &str, step_ids: &[String]) -> Result<(), PortError>;
    /// TerminateJobFlows; repeating it is harmless.
    async fn terminate_cluster(&self, id: &str) -> Result<(), PortError>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutionStatus {
    Running,
    Succeeded,
    Failed,
    TimedOut,
    Aborted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionDescription {
    pub name: String,
    pub status: ExecutionStatus,
    pub started: Timestamp,
    /// The start input.
    pub input: Value,
}

/// What became of StartExecution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    Now,
    /// `ExecutionAlreadyExists`: the name was used before.
    Before,
}

/// Step Functions, for the one state machine of this stack.
#[allow(async_fn_in_trait)]
pub trait Executions {
    async fn start_execution(&self, name: &str, input: &Value) -> Result<Started, PortError>;
    /// By name; `None` when there is no such execution (or not yet: reads are eventually consistent).
    async fn describe_execution(
        &self,
        name: &str,
    ) -> Result<Option<ExecutionDescription>, PortError>;
    /// Executions that are running, oldest first.
    async fn list_running_executions(&self) -> Result<Vec<ExecutionDescription>, PortError>;
}

/// Numbers for dashboards and alarms. A number that is lost never stops a run, so this cannot fail.
pub trait Metrics {
    fn record(&self, metrics: &[Metric]);
}

/// A message to ops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The same id is the same message: it may be delivered twice, and says so by its id.
    pub id: String,
    /// Under 100 characters, no line breaks.
    pub subject: String,
    pub body: String,
}

/// SNS, or `.eml` files.
#[allow(async_fn_in_trait)]
pub trait Mailer {
    async fn send(&self, mail: &Mail) -> Result<(), PortError>;
    /// How many addresses have confirmed that they want mail: with none, nobody is told anything.
    async fn confirmed(&self) -> Result<u32, PortError>;
}
