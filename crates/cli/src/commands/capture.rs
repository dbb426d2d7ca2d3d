//! `capture`: writes what the database commits to change files. The worker does it.

use crate::context::{Context, Trouble};
use crate::worker::become_worker;
use std::process::ExitCode;

/// Writes what the database commits to change files
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Starts in the background, where the last one stopped
    Start {
        /// Whose database
        #[arg(long)]
        identifier: String,
    },
    /// Whether it runs, and how far it is; exits with 1 when it does not run
    Status {
        /// Whose database
        #[arg(long)]
        identifier: String,
        /// Waits until all that was committed before this command is in change files
        #[arg(long)]
        wait: bool,
    },
    /// Stops it; its slot keeps what it has not written
    Stop {
        /// Whose database
        #[arg(long)]
        identifier: String,
    },
}

/// What writes change files on AWS.
const ON_AWS: &str =
    "on AWS, AWS DMS writes change files; an alarm of the stack tells when they stop coming";

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    let home = context.home("capture", ON_AWS)?;
    let (name, identifier, wait) = match arguments.action {
        Action::Start { identifier } => ("start", identifier, false),
        Action::Status { identifier, wait } => ("status", identifier, wait),
        Action::Stop { identifier } => ("stop", identifier, false),
    };
    let mut words: Vec<String> = ["capture", name, "--identifier"].map(str::to_owned).into();
    words.push(identifier);
    words.extend(wait.then(|| "--wait".to_owned()));
    Err(become_worker(home, context.json, &words))
}
