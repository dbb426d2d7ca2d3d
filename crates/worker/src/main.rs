//! `headwater-worker`: runs one step of a frozen plan, capture, or reconciliation, as its arguments say.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "headwater-worker", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compares silver with the source
    Reconcile(worker::reconcile::Arguments),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Reconcile(arguments) => worker::reconcile::command(arguments),
    }
}
