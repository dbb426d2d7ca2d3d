//! `headwater`: every command a person types. Reads arguments, calls what decides, prints. No business rules.
//!
//! stdout is data, stderr is talk. Exit codes: 0 done, 1 the run or check failed, 2 wrong usage.

mod context;
mod print;
mod items;
mod findings;
mod plan_text;
mod commands;

use clap::{Parser, Subcommand};
use commands::{check, diff, export, import, migrate, plan};
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
enum Command {
    Check(check::Arguments),
    Plan(plan::Arguments),
    Import(import::Arguments),
    Export(export::Arguments),
    Diff(diff::Arguments),
    Migrate(migrate::Arguments),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let context = &Context {
        home: cli.home,
        json: cli.json,
    };
    let ended = match cli.command {
        Command::Check(arguments) => check::run(context, arguments),
        Command::Plan(arguments) => plan::run(context, arguments),
        Command::Import(arguments) => import::run(context, arguments),
        Command::Export(arguments) => export::run(context, arguments),
        Command::Diff(arguments) => diff::run(context, arguments),
        Command::Migrate(arguments) => migrate::run(context, arguments),
    };
    ended.unwrap_or_else(|trouble| {
        print::say(&trouble.to_string());
        trouble.exit_code()
    })
}
