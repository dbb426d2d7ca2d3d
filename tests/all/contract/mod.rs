//! What every implementation of a port must do. The same stories for `sim`, for `local`, and for `aws` on moto: one that keeps
//! them is as good as another.

mod clusters;
mod config;
mod deployment;
pub mod executions;
mod faults;
mod ledger;
mod mail;
mod objects;

use std::ops::Deref;

/// The ports on this machine, and the folder that they go with.
pub struct InFolder {
    pub local: local::Local,
    folder: tempfile::TempDir,
}

impl InFolder {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let local = local::Local::open(folder.path())
            .expect("opened")
            .talk_to(|_| {});
        Self { local, folder }
    }

    /// A folder for objects: `file:///…/lake`.
    pub fn lake(&self) -> String {
        format!("file://{}/lake", self.folder.path().display())
    }
}

impl Deref for InFolder {
    type Target = local::Local;

    fn deref(&self) -> &local::Local {
        &self.local
    }
}
