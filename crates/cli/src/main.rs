//! `headwater`: every command a person types. Reads arguments, calls what decides, prints. No business rules.
//!
//! stdout is data, stderr is talk. Exit codes: 0 done, 1 the run or check failed, 2 wrong usage.

mod context;
mod place;
#[cfg(feature = "aws")]
mod stack;
mod print;
mod step_logs;
mod items;
mod findings;
mod plan_text;
mod view;
mod driver;
mod watch;
mod follow;
mod request;
mod worker;
mod commands;

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
#[cfg(feature = "aws")]
use commands::{artifacts, schedule};
use commands::{
    cancel, capture, check, diff, export, import, internal, logs, migrate, plan, reconcile, reload,
    resume, run, runs, show, sweep,
};
use context::{Context, Target, Trouble};
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// What is logged, in the form of `EnvFilter`: `info`, `tasks=debug`.
const LOG_VARIABLE: &str = "HEADWATER_LOG";

const ENVIRONMENT: &str = "\
Environment:
  HEADWATER_HOME    instead of --home
  HEADWATER_LOG     what is logged on stderr, for example `info` or `tasks=debug`
  HEADWATER_WORKER  instead of the `headwater-worker` beside this program
  NO_COLOR          no colours
  AWS_PROFILE, AWS_REGION and what else the AWS CLI reads, with --stack";

#[derive(Parser)]
#[command(
    name = "headwater",
    version,
    about = "Keeps a data lake up to date from an operational database",
    arg_required_else_help = true,
    after_help = ENVIRONMENT
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
    /// A stack on AWS instead of this machine
    #[arg(long, value_name = "NAME", global = true)]
    stack: Option<String>,
    /// Data as JSON on stdout
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// In the order of the help.
#[derive(Subcommand)]
enum Command {
    Check(check::Arguments),
    Plan(plan::Arguments),
    Import(import::Arguments),
    Export(export::Arguments),
    Diff(diff::Arguments),
    Migrate(migrate::Arguments),
    Run(run::Arguments),
    Resume(resume::Arguments),
    Reload(reload::Arguments),
    Cancel(cancel::Arguments),
    Runs(runs::Arguments),
    Show(show::Arguments),
    Logs(logs::Arguments),
    Sweep(sweep::Arguments),
    Capture(capture::Arguments),
    Reconcile(reconcile::Arguments),
    #[cfg(feature = "aws")]
    Schedule(schedule::Arguments),
    #[cfg(feature = "aws")]
    Artifacts(artifacts::Arguments),
    #[command(hide = true)]
    Internal(internal::Arguments),
}

fn main() -> ExitCode {
    trace();
    run().unwrap_or_else(|trouble| {
        print::say(&trouble.to_string());
        trouble.exit_code()
    })
}

fn run() -> Result<ExitCode, Trouble> {
    let matches = Cli::command().get_matches();
    let home_is_typed = matches.value_source("home") == Some(ValueSource::CommandLine);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let target = match cli.stack {
        Some(_) if home_is_typed => {
            return Err(
                Trouble::usage("`--home` is of this machine, `--stack` of AWS")
                    .hint("leave one of them out"),
            );
        }
        Some(name) => Target::Stack(name),
        None => Target::Home(cli.home),
    };
    let context = &Context {
        target,
        json: cli.json,
    };
    match cli.command {
        Command::Check(arguments) => check::run(context, arguments),
        Command::Plan(arguments) => plan::run(context, arguments),
        Command::Import(arguments) => import::run(context, arguments),
        Command::Export(arguments) => export::run(context, arguments),
        Command::Diff(arguments) => diff::run(context, arguments),
        Command::Migrate(arguments) => migrate::run(context, arguments),
        Command::Run(arguments) => run::run(context, arguments),
        Command::Resume(arguments) => resume::run(context, arguments),
        Command::Reload(arguments) => reload::run(context, arguments),
        Command::Cancel(arguments) => cancel::run(context, arguments),
        Command::Runs(arguments) => runs::run(context, arguments),
        Command::Show(arguments) => show::run(context, arguments),
        Command::Logs(arguments) => logs::run(context, arguments),
        Command::Sweep(arguments) => sweep::run(context, arguments),
        Command::Capture(arguments) => capture::run(context, arguments),
        Command::Reconcile(arguments) => reconcile::run(context, arguments),
        #[cfg(feature = "aws")]
        Command::Schedule(arguments) => schedule::run(context, arguments),
        #[cfg(feature = "aws")]
        Command::Artifacts(arguments) => artifacts::run(context, arguments),
        Command::Internal(arguments) => internal::run(context, arguments),
    }
}

/// What the program tells of itself, on stderr: warnings, or what HEADWATER_LOG names.
fn trace() {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|error| {
        if std::env::var_os(LOG_VARIABLE).is_some() {
            print::say(&format!("warning: `{LOG_VARIABLE}` is left aside: {error}"));
        }
        EnvFilter::new("warn")
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(print::stderr_is_coloured())
        .with_writer(std::io::stderr)
        .init();
}
