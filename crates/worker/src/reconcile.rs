//! `reconcile`: whether silver, at its position, equals the source, by counts or by every value.
//! The source is Postgres's own text, parsed here; nothing of the load's decoding is used.

mod row;
mod array;
mod rule;
mod printed;
mod columns;
mod progress;
mod compare;
mod source;
mod silver;
mod lake;
mod standing;
mod scope;
mod rounds;
mod report;

#[cfg(test)]
mod tests;

use crate::failure::Failure;
use progress::say;
use report::Report;
use scope::Scope;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where state, lake and secrets of this machine are
    #[arg(
        long,
        env = "HEADWATER_HOME",
        default_value = ".headwater",
        value_name = "DIR"
    )]
    home: PathBuf,
    /// The use case: its database and its pipelines
    #[arg(long, value_name = "ID")]
    identifier: String,
    /// Only this table; may be repeated
    #[arg(long = "table", value_name = "SCHEMA.TABLE")]
    tables: Vec<String>,
    /// Compare every value of every row, and name what differs
    #[arg(long)]
    deep: bool,
    /// Data as JSON on stdout
    #[arg(long)]
    json: bool,
    /// How long to wait, in all, for capture and for running merges
    #[arg(long, default_value_t = 60, value_name = "N")]
    wait_seconds: u64,
}

/// The tables are not equal, or could not be compared.
const FAILED: u8 = 1;
/// What was asked for does not exist.
const USAGE: u8 = 2;

/// Why nothing was compared at all.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Lines of an `error:`, and of a `hint:`.
    Usage(String, Option<String>),
    Failed(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Compares, and prints what it found. Exit codes: 0 all equal, 1 something differs or could not be compared, 2 wrong usage.
pub fn command(arguments: Arguments) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("error: no threads: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    match runtime.block_on(reconcile(&arguments)) {
        Ok(report) => {
            print(&report, arguments.json);
            ExitCode::from(if report.all_equal() { 0 } else { FAILED })
        }
        Err(refusal) => refuse(refusal),
    }
}

async fn reconcile(arguments: &Arguments) -> Result<Report, Refusal> {
    let scope = Scope::open(&arguments.home, &arguments.identifier, &arguments.tables).await?;
    let wait = Duration::from_secs(arguments.wait_seconds);
    let mode = match arguments.deep {
        true => rounds::Mode::Deep,
        false => rounds::Mode::Counts,
    };
    let tables = rounds::run(&scope, &lake::Silver, mode, wait).await?;
    Ok(Report {
        identifier: arguments.identifier.clone(),
        deep: arguments.deep,
        tables,
    })
}

fn print(report: &Report, json: bool) {
    use std::io::Write;
    let text = match json {
        // Its parts are texts and numbers: they can be written.
        true => serde_json::to_string(report).unwrap_or_default() + "\n",
        false => report::text(report),
    };
    // A reader that went away needs nothing more.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn refuse(refusal: Refusal) -> ExitCode {
    let (message, hint, code) = match refusal {
        Refusal::Usage(message, hint) => (message, hint, USAGE),
        Refusal::Failed(failure) => (told(&failure), failure.hint, FAILED),
    };
    say(&format!("error: {message}"));
    if let Some(hint) = hint {
        say(&format!("hint: {hint}"));
    }
    ExitCode::from(code)
}

/// A failure in one line, with what lies underneath.
fn told(failure: &Failure) -> String {
    let mut text = failure.message.clone();
    for cause in &failure.causes {
        text.push_str(": ");
        text.push_str(cause);
    }
    text
}
