//! `internal`: bodies of processes that outlive their starter. Their output goes to log files.

use crate::context::{Context, Trouble, block_on, open_home};
use crate::driver;
use crate::print::say;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    body: Body,
}

#[derive(clap::Subcommand)]
enum Body {
    /// Supervises a cluster
    Cluster { folder: PathBuf, cluster: String },
    /// Drives an execution
    Drive { folder: PathBuf, execution: String },
    /// Sweeps once
    Sweep { folder: PathBuf },
}

pub fn run(_: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    match arguments.body {
        Body::Cluster { folder, cluster } => {
            local::supervisor::supervise(&open_home(&folder)?, &cluster)
                .map_err(|error| Trouble::failed(error.to_string()))?;
        }
        Body::Drive { folder, execution } => {
            let local = open_home(&folder)?;
            block_on(driver::drive(&local, &execution))?;
        }
        Body::Sweep { folder } => {
            let local = open_home(&folder)?;
            let repaired = block_on(driver::repair(&local))?;
            repaired.lines().iter().for_each(|line| say(line));
        }
    }
    Ok(ExitCode::SUCCESS)
}
