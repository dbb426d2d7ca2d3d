//! Where everything of one home folder lies.

use crate::OpenError;
use pipeline::path::segment;
use std::path::{Path, PathBuf};

/// A home folder, absolute.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// Makes the folder and those in it that a command expects.
    pub fn make(folder: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Folder {
            folder: folder.to_owned(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let root = folder.canonicalize().map_err(failed)?;
        for name in ["clusters", "executions", "lake", "logs", "mail"] {
            std::fs::create_dir_all(root.join(name)).map_err(failed)?;
        }
        make_private(&root.join("secrets")).map_err(failed)?;
        Ok(Self { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn database(&self) -> PathBuf {
        self.root.join("headwater.db")
    }

    /// Held while the database is made or brought to the present schema.
    pub fn database_lock(&self) -> PathBuf {
        self.root.join("headwater.db.lock")
    }

    pub fn lake(&self) -> PathBuf {
        self.root.join("lake")
    }

    pub fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    pub fn mail(&self) -> PathBuf {
        self.root.join("mail")
    }

    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Logs of a cluster: `supervisor.log`, and a folder per step.
    pub fn cluster_logs(&self, cluster: &str) -> PathBuf {
        self.logs().join(segment(cluster))
    }

    /// `stdout` and `stderr` of a step are here.
    pub fn step_logs(&self, cluster: &str, step: &str) -> PathBuf {
        self.cluster_logs(cluster).join(segment(step))
    }

    /// Held by the supervisor of a cluster as long as it lives.
    pub fn cluster_lock(&self, cluster: &str) -> PathBuf {
        self.root
            .join("clusters")
            .join(format!("{}.lock", segment(cluster)))
    }

    /// Held by the process that drives an execution.
    pub fn execution_lock(&self, execution: &str) -> PathBuf {
        self.root
            .join("executions")
            .join(format!("{}.lock", segment(execution)))
    }
}

/// A folder that only its owner may look into.
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}
