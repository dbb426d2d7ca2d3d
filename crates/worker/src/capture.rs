//! Capture: what the source database commits becomes change files, as AWS DMS lays them out.
//!
//! A slot and a publication of the source carry the changes (`prepare`, `slot`); a process of its own follows them (`daemon`, `stream`),
//! numbers them (`numbers`), gathers them by table (`relation`, `buffer`) and writes them (`files`); the state file says how far it is (`state`).

mod setting;
mod numbers;
mod state;
mod tables;
mod slot;
mod prepare;
mod relation;
mod buffer;
mod files;
mod stream;
mod daemon;
mod control;

#[cfg(test)]
mod tests;

use crate::failure::Failure;
use clap::{Args, Subcommand};
use control::Shown;
use setting::Setting;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use stream::Limits;

/// Arguments of `headwater capture`.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prepares the source and starts capture; harmless when it runs
    Start {
        #[command(flatten)]
        about: About,
        #[command(flatten)]
        pace: Pace,
    },
    /// How far capture is; exit code 1 when it is not running
    Status {
        #[command(flatten)]
        about: About,
        /// Return when all that is committed now is in files
        #[arg(long)]
        wait: bool,
    },
    /// Stops capture; its replication slot stays
    Stop {
        #[command(flatten)]
        about: About,
    },
    /// The process that captures
    #[command(hide = true)]
    Run {
        #[command(flatten)]
        about: About,
        #[command(flatten)]
        pace: Pace,
    },
}

#[derive(Args)]
struct About {
    /// Where state, lake, logs and mails of this machine are
    #[arg(
        long,
        env = "HEADWATER_HOME",
        default_value = ".headwater",
        value_name = "DIR"
    )]
    home: PathBuf,
    /// The use case whose database is captured
    #[arg(long, value_name = "ID")]
    identifier: String,
    /// Data as JSON on stdout
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Pace {
    /// A change waits no longer than this for its file
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    flush_seconds: u64,
}

/// Changes held in memory at most. A file of them is a tenth of that.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Often enough to see a dead capture soon; rare enough to leave a quiet database quiet.
const BEAT: Duration = Duration::from_secs(5);

/// Names something that does not exist.
const USAGE: u8 = 2;

pub fn command(arguments: Arguments) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no threads to work with: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(commanded(arguments.command)) {
        Ok(code) => code,
        Err(failure) => {
            tell(&failure);
            match failure.error {
                setting::UNKNOWN => ExitCode::from(USAGE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

async fn commanded(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Start { about, pace } => {
            let setting = about.setting()?;
            let shown = control::start(&setting, pace.flush_seconds).await?;
            for (table, reason) in &shown.left_out {
                eprintln!("note: `{table}` is not followed: {reason}");
            }
            about.print(&shown, &told(&shown));
        }
        Command::Status { about, wait } => {
            let setting = about.setting()?;
            if wait {
                control::wait(&setting).await?;
            }
            let shown = control::status(&setting).await?;
            about.print(&shown, &told(&shown));
            if !shown.running {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Stop { about } => {
            let setting = about.setting()?;
            let stopped = control::stop(&setting).await?;
            let identifier = &setting.identifier;
            match stopped {
                true => eprintln!(
                    "capture of `{identifier}` has stopped; it goes on from there when it is started again"
                ),
                false => eprintln!("capture of `{identifier}` is not running"),
            }
            eprintln!(
                "note: the replication slot `{}` stays, and keeps the log files of the source until it is dropped",
                setting.slot
            );
            if about.json {
                println!(
                    "{}",
                    serde_json::json!({"identifier": identifier, "slot": setting.slot, "stopped": stopped})
                );
            }
        }
        Command::Run { about, pace } => {
            let limits = Limits {
                bytes: BYTES_MAX,
                interval: Duration::from_secs(pace.flush_seconds),
                beat: BEAT,
            };
            daemon::run(&about.setting()?, limits).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl About {
    fn setting(&self) -> Result<Setting, Failure> {
        Setting::read(&self.home, &self.identifier)
    }

    fn print(&self, shown: &Shown, text: &str) {
        let text = if self.json {
            format!("{}\n", serde_json::json!(shown))
        } else {
            text.to_owned()
        };
        // A reader that went away has seen what it wanted.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
}

/// What a person reads.
fn told(shown: &Shown) -> String {
    let none = || "none".to_owned();
    let mut lines = vec![
        format!(
            "capture    {}",
            if shown.running {
                "running"
            } else {
                "not running"
            }
        ),
        format!("slot       {}", shown.slot),
        format!("epoch      {}", shown.epoch.clone().unwrap_or_else(none)),
    ];
    if let (Some(heartbeat), Some(age)) = (&shown.heartbeat, shown.heartbeat_age_seconds) {
        lines.push(format!("heartbeat  {heartbeat}, {age} s ago"));
    }
    if let Some(flushed) = &shown.flushed_lsn {
        let lag = shown.lag_bytes.map_or_else(
            || "the source is out of reach".to_owned(),
            |lag| format!("{lag} bytes behind"),
        );
        lines.push(format!("flushed    {flushed}, {lag}"));
    }
    if let Some(failure) = &shown.failure {
        lines.push(format!("failure    {}", failure.message));
        lines.extend(
            failure
                .root_cause
                .iter()
                .map(|cause| format!("           {cause}")),
        );
        lines.extend(
            failure
                .hint
                .iter()
                .map(|hint| format!("           hint: {hint}")),
        );
    }
    lines.push(format!("tables     {}", shown.tables.len()));
    lines.extend(
        shown
            .tables
            .iter()
            .map(|table| format!("           {table}")),
    );
    for (table, mark) in &shown.needs_reseed {
        lines.push(match tables::is_for_good(mark) {
            true => format!("missing    {table}: {}", mark.reason),
            false => format!(
                "re-seed    {table}: {}, at {}",
                mark.reason,
                mark.at.timestamp()
            ),
        });
    }
    lines.push(format!("log        {}", shown.log));
    lines.join("\n") + "\n"
}

fn tell(failure: &Failure) {
    eprintln!("error: {}", failure.message);
    for cause in &failure.causes {
        eprintln!("cause: {cause}");
    }
    for hint in failure.hint.iter().flat_map(|hint| hint.lines()) {
        eprintln!("hint: {hint}");
    }
}
