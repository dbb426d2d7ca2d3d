//! The ports on this machine: SQLite for ledger, configuration and executions, folders for buckets, processes for clusters. No decisions.

pub mod home;
pub mod kill;
pub mod lock;
mod database;
mod ledger;
mod config;
mod objects;
mod mail;
pub mod progress;
pub mod process;
pub mod clusters;
pub mod supervisor;
pub mod executions;
pub mod runner;
mod saved;
mod logs;

use home::Home;
use pipeline::deployment::Deployment;
use pipeline::time::Timestamp;
use process::Program;
use rusqlite::Connection;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tasks::port::{Clock, DeploymentError, Deployments, PortError};

/// All ports of one home folder. Several processes may have the same one open.
pub struct Local {
    home: Home,
    connection: Mutex<Connection>,
    program: Program,
    /// The state machine with which executions are started.
    definition: String,
    talk: Box<dyn Fn(&str) + Send + Sync>,
}

/// Why a home folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("home folder `{}` cannot be used: {source}", folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    #[error("database `{}` cannot be used: {source}", file.display())]
    Database {
        file: PathBuf,
        source: rusqlite::Error,
    },
    #[error("database `{}` is of version {found}, this program knows {}", file.display(), database::SCHEMA_VERSION)]
    Newer { file: PathBuf, found: i64 },
}

impl Local {
    /// Opens a home folder, making it and its database where they are missing.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        Self::open_with(folder, Program::this())
    }

    /// Like `open`, for a program that is started in another way than `headwater`.
    pub fn open_with(folder: &Path, program: Program) -> Result<Self, OpenError> {
        let home = Home::make(folder)?;
        let connection = database::open(&home)?;
        Ok(Self {
            home,
            connection: Mutex::new(connection),
            program,
            definition: String::new(),
            talk: Box::new(|line| eprintln!("{line}")),
        })
    }

    /// Executions are started with this state machine.
    pub fn with_definition(mut self, definition: String) -> Self {
        self.definition = definition;
        self
    }

    /// Lines for a person at the terminal go here instead of to standard error.
    pub fn talk_to(mut self, talk: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.talk = Box::new(talk);
        self
    }

    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The one deployment of this folder.
    pub fn deployment(&self) -> Deployment {
        Deployment::local(&self.home.root().to_string_lossy())
    }

    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The connection. A panic of another holder leaves SQLite's own state whole: a transaction rolls back when it is dropped.
    fn database(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deployments for Local {
    async fn deployment(&self) -> Result<Deployment, DeploymentError> {
        Ok(Local::deployment(self))
    }
}

impl Clock for Local {
    fn now(&self) -> Timestamp {
        Timestamp(chrono::Utc::now().timestamp_millis())
    }
}

/// What SQLite's answer means for a caller.
fn port_error(error: rusqlite::Error) -> PortError {
    use rusqlite::ErrorCode;
    let message = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => PortError::Throttled {
            service: "SQLite",
            message,
        },
        Some(ErrorCode::DiskFull | ErrorCode::ReadOnly | ErrorCode::NotADatabase) => {
            PortError::Refused {
                service: "SQLite",
                message,
            }
        }
        _ => PortError::Unknown {
            service: "SQLite",
            message,
        },
    }
}
