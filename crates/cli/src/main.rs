//! `headwater`: every command a person types. Reads arguments, calls what decides, prints. No business rules.
//!
//! stdout is data, stderr is talk. Exit codes: 0 done, 1 the run or check failed, 2 wrong usage.

mod context;
mod commands;

use clap::{Parser, Subcommand};
use context::Context;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "headwater",
    version,
    about = "Keeps a data lake up to date from an operational database",
    arg_required_else_help = true
)]
struct Cli {
    /// Where state, lake, logs and mails of this machine are
    #[arg(
        long,
        env = "HEADWATER_HOME",
        default_value = ".headwater",
        value_name = "DIR",
        global = true
    )]
    home: PathBuf,
    /// Data as JSON on stdout
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let _context = Context {
        home: cli.home,
        json: cli.json,
    };
    match cli.command {}
}
