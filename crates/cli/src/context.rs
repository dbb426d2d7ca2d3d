//! What every command is given, and why one cannot go on.

use crate::place::Place;
use crate::print;
use local::Local;
use pipeline::problem::Problem;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tasks::error::TaskError;
use tasks::port::PortError;

/// The state machine of a run, as this program was built with it.
pub const DEFINITION: &str = include_str!("../../../statemachines/pipeline.asl.json");

/// The run or the check failed.
pub const FAILED: u8 = 1;
/// The command was not understood, or names something that does not exist.
pub const USAGE: u8 = 2;

/// Settings that all commands share.
pub struct Context {
    pub target: Target,
    pub json: bool,
}

/// Where commands work.
pub enum Target {
    /// This folder of this machine.
    Home(PathBuf),
    /// The stack of this name on AWS.
    Stack(String),
}

impl Context {
    /// The place; a home folder is made where it is missing.
    pub async fn open(&self) -> Result<Place, Trouble> {
        match &self.target {
            Target::Home(folder) => Ok(Place::Home(Box::new(open_home(folder)?))),
            Target::Stack(name) => Place::stack(name).await,
        }
    }

    /// The place, where it exists already: reading makes no home folder.
    pub async fn existing(&self) -> Result<Place, Trouble> {
        match &self.target {
            Target::Home(folder) if !home_exists(folder) => {
                let message = format!("there is no configuration in `{}`", folder.display());
                Err(Trouble::failed(message)
                    .hint("`headwater import FILE` writes it; `--home DIR` names another folder"))
            }
            Target::Home(_) | Target::Stack(_) => self.open().await,
        }
    }

    /// Whether there is something to read.
    pub fn exists(&self) -> bool {
        match &self.target {
            Target::Home(folder) => home_exists(folder),
            Target::Stack(_) => true,
        }
    }

    /// The name of the stack, for what this machine has no need of: `instead` says what does it there.
    #[cfg(feature = "aws")]
    pub fn stack(&self, what: &str, instead: &str) -> Result<&str, Trouble> {
        match &self.target {
            Target::Stack(name) => Ok(name),
            Target::Home(_) => Err(Trouble::usage(format!(
                "`{what}` is for a stack: `--stack NAME`"
            ))
            .hint(instead)),
        }
    }

    /// The home folder, for what a stack has no need of: `instead` says what does it there.
    pub fn home(&self, what: &str, instead: &str) -> Result<&Path, Trouble> {
        match &self.target {
            Target::Home(folder) => Ok(folder),
            Target::Stack(_) => {
                Err(Trouble::usage(format!("`{what}` is for this machine")).hint(instead))
            }
        }
    }
}

fn home_exists(folder: &Path) -> bool {
    folder.join("headwater.db").exists()
}

/// The home folder, made where it is missing.
pub fn open_home(folder: &Path) -> Result<Local, Trouble> {
    let local = Local::open(folder).map_err(|error| Trouble::failed(error.to_string()))?;
    Ok(local
        .with_definition(DEFINITION.to_owned())
        .talk_to(print::say))
}

/// Runs work of one thread: tasks, waits and signals take turns.
pub fn block_on<T>(work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::failed(format!("no runtime can be had: {error}")))?
        .block_on(work)
}

/// Why a command ends without its work: one line or more, a hint, and an exit code.
#[derive(Debug)]
pub struct Trouble {
    pub message: String,
    pub hint: Option<String>,
    code: u8,
}

impl Trouble {
    /// Something went wrong.
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            code: FAILED,
        }
    }

    /// What was asked for makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            code: USAGE,
            ..Self::failed(message)
        }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// All mistakes at once, each with its place and hint.
    pub fn problems(problems: &[Problem]) -> Self {
        let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
        Self::failed(lines.join("\n"))
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl From<TaskError> for Trouble {
    fn from(error: TaskError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<PortError> for Trouble {
    fn from(error: PortError) -> Self {
        Self::failed(error.to_string())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}
