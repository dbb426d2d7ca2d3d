//! Where a step runs, as its ports: this machine, or a stack on AWS.

use crate::failure::Failure;
use crate::secret::Secrets;
#[cfg(feature = "aws")]
use aws::{
    Aws,
    resources::{Resources, WORKER_NEEDS},
};
use local::Local;
use pipeline::time::Timestamp;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tasks::port::{
    Clock, Ledger, LedgerEntry, LedgerKey, LedgerWrite, Object, Objects, PortError, WriteError,
};

/// The ports of the one or the other.
pub enum World {
    Local {
        local: Box<Local>,
        secrets: PathBuf,
    },
    #[cfg(feature = "aws")]
    Aws(Box<Aws>),
}

impl World {
    /// This machine, when a home folder is named; else the stack that the environment names.
    pub async fn open(home: Option<&Path>) -> Result<Self, Failure> {
        match home {
            Some(home) => {
                Ok(Self::of(Local::open(home).map_err(|error| {
                    Failure::new("LedgerUnreachable", error.to_string())
                })?))
            }
            None => stack().await,
        }
    }

    /// The world of a home folder.
    pub fn of(local: Local) -> Self {
        Self::Local {
            secrets: local.home().secrets(),
            local: Box::new(local),
        }
    }

    pub fn secrets(&self) -> Secrets<'_> {
        match self {
            Self::Local { secrets, .. } => Secrets::Folder(secrets),
            #[cfg(feature = "aws")]
            Self::Aws(aws) => Secrets::Manager(aws),
        }
    }

    /// Between two calls of `show`: here each is a transaction on disk, on AWS a line of the step's log.
    pub fn show_interval(&self) -> Duration {
        match self {
            Self::Local { .. } => Duration::from_secs(1),
            #[cfg(feature = "aws")]
            Self::Aws(_) => Duration::from_secs(60),
        }
    }

    /// Shows how far a step is.
    pub fn show(
        &self,
        run_id: &str,
        step: &str,
        rows: u64,
        bytes: u64,
        expected: Option<u64>,
    ) -> Result<(), PortError> {
        match self {
            Self::Local { local, .. } => local.progress(run_id, step, rows, bytes, expected),
            #[cfg(feature = "aws")]
            Self::Aws(_) => {
                tracing::info!(run_id, step, rows, bytes, expected, "under way");
                Ok(())
            }
        }
    }
}

#[cfg(feature = "aws")]
async fn stack() -> Result<World, Failure> {
    let variable = |name: &str| std::env::var(name).ok();
    match Resources::from_environment(WORKER_NEEDS, variable) {
        Ok(resources) => Ok(World::Aws(Box::new(Aws::load(resources).await))),
        Err(error) => Err(Failure::new(
            "NowhereToRun",
            "the step runs neither in a home folder nor in a stack",
        )
        .hint("name a folder with `--home`; on a cluster the bootstrap script sets the stack's variables")
        .caused_by(&error)),
    }
}

#[cfg(not(feature = "aws"))]
async fn stack() -> Result<World, Failure> {
    Err(Failure::new(
        "NowhereToRun",
        "this worker was built without AWS, and no home folder is named",
    )
    .hint("name a folder with `--home`"))
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        match self {
            Self::Local { local, .. } => local.now(),
            #[cfg(feature = "aws")]
            Self::Aws(aws) => aws.now(),
        }
    }
}

impl Ledger for World {
    async fn get(&self, key: &LedgerKey) -> Result<Option<LedgerEntry>, PortError> {
        match self {
            Self::Local { local, .. } => local.get(key).await,
            #[cfg(feature = "aws")]
            Self::Aws(aws) => aws.get(key).await,
        }
    }

    async fn list(
        &self,
        partition: &str,
        sort_prefix: &str,
    ) -> Result<Vec<LedgerEntry>, PortError> {
        match self {
            Self::Local { local, .. } => local.list(partition, sort_prefix).await,
            #[cfg(feature = "aws")]
            Self::Aws(aws) => aws.list(partition, sort_prefix).await,
        }
    }

    async fn write(&self, writes: &[LedgerWrite]) -> Result<(), WriteError> {
        match self {
            Self::Local { local, .. } => local.write(writes).await,
            #[cfg(feature = "aws")]
            Self::Aws(aws) => aws.write(writes).await,
        }
    }
}

impl Objects for World {
    async fn read(&self, uri: &str) -> Result<Option<Vec<u8>>, PortError> {
        match self {
            Self::Local { local, .. } => local.read(uri).await,
            #[cfg(feature = "aws")]
            Self::Aws(aws) => aws.read(uri).await,
        }
    }

    async fn put(&self, uri: &str, bytes: &[u8]) -> Result<(), PortError> {
        match self {
            Self::Local { local, .. } => local.put(uri, bytes).await,
            #[cfg(feature = "aws")]
            Self::Aws(aws) => aws.put(uri, bytes).await,
        }
    }

    async fn list_objects(&self, uri: &str) -> Result<Vec<Object>, PortError> {
        match self {
            Self::Local { local, .. } => local.list_objects(uri).await,
            #[cfg(feature = "aws")]
            Self::Aws(aws) => aws.list_objects(uri).await,
        }
    }
}
