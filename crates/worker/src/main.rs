//! `headwater-worker`: runs one step of a frozen plan, capture, or reconciliation, as its arguments say.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use worker::{capture, reconcile, step};

#[derive(Parser)]
#[command(
    name = "headwater-worker",
    version,
    about = "Runs one step where the data is"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One attempt of one step of a run
    Step(step::Arguments),
    /// Writes what the database commits to change files
    Capture(capture::Arguments),
    /// The lake against the database
    Reconcile(reconcile::Arguments),
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            EnvFilter::try_from_env("HEADWATER_LOG").unwrap_or_else(|_| EnvFilter::new("warn")),
        )
        .init();
    match Cli::parse().command {
        Command::Step(arguments) => step::command(arguments),
        Command::Capture(arguments) => capture::command(arguments),
        Command::Reconcile(arguments) => reconcile::command(arguments),
    }
}
