//! `start`, `status` and `stop`: what a person asks of capture.

use super::daemon::{Phase, Status};
use super::prepare::{Daemon, Prepared, prepare};
use super::setting::{Setting, cannot_write};
use super::slot::{self, Beat, one};
use super::state;
use crate::failure::Failure;
use crate::source::connect;
use local::lock;
use local::process::{CLUSTER_MARK, HOME_VARIABLE, STEP_MARK};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pipeline::position::{CaptureState, NeedsReseed};
use pipeline::report::StepFailure;
use pipeline::time::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Client;

/// Between looks at what another process does.
const LOOK: Duration = Duration::from_millis(20);
const START_WAIT: Duration = Duration::from_secs(60);
const FLUSH_WAIT: Duration = Duration::from_secs(120);
const STOP_WAIT: Duration = Duration::from_secs(60);

/// What the library says of a lost connection is said by us.
const LOG_DEFAULT: &str = "warn,worker=info,pgwire_replication=off";

/// What `start` and `status` print.
#[derive(Debug, Serialize)]
pub struct Shown {
    pub identifier: String,
    pub running: bool,
    pub phase: Option<Phase>,
    pub failure: Option<StepFailure>,
    pub slot: String,
    pub epoch: Option<String>,
    pub heartbeat: Option<String>,
    pub heartbeat_age_seconds: Option<i64>,
    pub flushed_lsn: Option<String>,
    /// What the source has written since; `None` when it cannot be asked.
    pub lag_bytes: Option<u64>,
    pub tables: Vec<String>,
    pub left_out: BTreeMap<String, String>,
    pub needs_reseed: BTreeMap<String, NeedsReseed>,
    pub log: String,
}

/// Prepares the source, starts capture, and waits until it is at work.
pub async fn start(setting: &Setting, flush_seconds: u64) -> Result<Shown, Failure> {
    let daemon = if runs(setting)? {
        Daemon::Runs
    } else {
        Daemon::Stands
    };
    let client = connect(&setting.secret()?).await?;
    let before = state::read(setting)?;
    let prepared = prepare(setting, &client, daemon).await?;
    for note in &prepared.notes {
        eprintln!("note: {note}");
    }
    match daemon {
        Daemon::Stands => begun(setting, spawn(setting, flush_seconds)?).await?,
        Daemon::Runs => {
            eprintln!("capture of `{}` is running already", setting.identifier);
            // It learns of tables that are new in the publication.
            flushed(setting, &client).await?;
        }
    }
    let shown = shown(setting, Some(&client), prepared).await?;
    if let Some(before) = before.filter(|before| shown.epoch.as_ref() != Some(&before.epoch)) {
        eprintln!(
            "warning: capture began anew: changes after {} may be missing, and every table needs a new load and seed",
            before.heartbeat
        );
    }
    Ok(shown)
}

pub async fn status(setting: &Setting) -> Result<Shown, Failure> {
    // Without the source there is still something to show.
    let client = match setting.secret() {
        Ok(secret) => connect(&secret).await,
        Err(failure) => Err(failure),
    };
    if let Err(failure) = &client {
        eprintln!("note: {}", failure.message);
    }
    shown(setting, client.as_ref().ok(), Prepared::default()).await
}

/// Returns when all that is committed now is in files.
pub async fn wait(setting: &Setting) -> Result<(), Failure> {
    if !runs(setting)? {
        return Err(not_running(setting));
    }
    flushed(setting, &connect(&setting.secret()?).await?).await
}

async fn flushed(setting: &Setting, client: &Client) -> Result<(), Failure> {
    let what = "the source's position cannot be read";
    let row = one(client, "SELECT pg_current_wal_insert_lsn()::text", what).await?;
    let until = slot::lsn(row.get(0))?;
    // Its own commit is after that position: when it is in files, all before it is.
    slot::count(client, &setting.slot, Beat::Flush).await?;
    let deadline = Instant::now() + FLUSH_WAIT;
    loop {
        let state = state::read(setting)?;
        if let Some(state) = &state
            && state::flushed(state)? >= until
        {
            return Ok(());
        }
        if !runs(setting)? {
            return Err(not_running(setting));
        }
        if Instant::now() > deadline {
            let at = state.map_or_else(|| "nowhere".to_owned(), |state| state.flushed_lsn);
            return Err(Failure::new(
                "CaptureBehind",
                format!(
                    "capture did not come to {until} within {} s: it is at {at}",
                    FLUSH_WAIT.as_secs()
                ),
            )
            .hint(format!("look at {}", setting.log_file().display())));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn not_running(setting: &Setting) -> Failure {
    let mut failure = Failure::new(
        "CaptureStands",
        format!("capture of `{}` is not running", setting.identifier),
    )
    .hint(setting.command("start"));
    if let Some(why) = Status::read(setting).and_then(|status| status.failure) {
        failure.causes.push(why.message);
        failure.causes.extend(why.root_cause);
    }
    failure
}

/// Ends capture after what it has in hand; says whether there was one.
pub async fn stop(setting: &Setting) -> Result<bool, Failure> {
    if !runs(setting)? {
        return Ok(false);
    }
    let deadline = Instant::now() + STOP_WAIT;
    let mut told = false;
    while runs(setting)? {
        // It may have just begun, and not yet have said who it is.
        if !told
            && let Some(process) = Status::read(setting).filter(|status| is_capture(status.process))
        {
            let id = Pid::from_raw(process.process.cast_signed());
            told = kill(id, Signal::SIGTERM).is_ok();
        }
        if Instant::now() > deadline {
            return Err(Failure::new(
                "CaptureGoesOn",
                format!(
                    "capture of `{}` did not stop within {} s",
                    setting.identifier,
                    STOP_WAIT.as_secs()
                ),
            )
            .hint(format!("look at {}", setting.log_file().display())));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(true)
}

/// A number that a process wrote may have become another's.
fn is_capture(process: u32) -> bool {
    std::fs::read(format!("/proc/{process}/cmdline"))
        .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == b"capture"))
}

pub fn runs(setting: &Setting) -> Result<bool, Failure> {
    let path = setting.lock_file();
    lock::held(&path).map_err(|error| cannot_write(&path, &error))
}

fn spawn(setting: &Setting, flush_seconds: u64) -> Result<Child, Failure> {
    let path = setting.log_file();
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|log| Ok((log.try_clone()?, log)));
    let (out, err) = log.map_err(|error| cannot_write(&path, &error))?;
    let started = std::env::current_exe().and_then(|program| {
        Command::new(program)
            .args([
                "capture",
                "run",
                "--identifier",
                &setting.identifier,
                "--flush-seconds",
            ])
            .arg(flush_seconds.to_string())
            .env(HOME_VARIABLE, &setting.home)
            .env(
                "HEADWATER_LOG",
                std::env::var("HEADWATER_LOG").unwrap_or_else(|_| LOG_DEFAULT.to_owned()),
            )
            .env("TZ", "UTC")
            // A log is no terminal.
            .env("NO_COLOR", "1")
            // Started from within a step, it still is not a part of that step.
            .env_remove(CLUSTER_MARK)
            .env_remove(STEP_MARK)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
    });
    started.map_err(|error| {
        Failure::new("CannotStart", "the process that captures cannot be started").caused_by(&error)
    })
}

/// Waits until the process streams.
async fn begun(setting: &Setting, mut child: Child) -> Result<(), Failure> {
    let deadline = Instant::now() + START_WAIT;
    loop {
        let own = Status::read(setting).filter(|status| status.process == child.id());
        if own
            .as_ref()
            .is_some_and(|status| status.phase == Phase::Streaming)
        {
            return Ok(());
        }
        let ended = child.try_wait().map_err(|error| {
            Failure::new("CannotStart", "the process that captures cannot be watched")
                .caused_by(&error)
        })?;
        let reason = own.and_then(|status| status.failure);
        if let Some(ended) = ended {
            // Another start was quicker.
            if runs(setting)? {
                return Ok(());
            }
            return Err(did_not_begin(
                setting,
                reason,
                &format!("it ended: {ended}"),
            ));
        }
        if Instant::now() > deadline {
            let why = format!("after {} s it still tries", START_WAIT.as_secs());
            return Err(did_not_begin(setting, reason, &why));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn did_not_begin(setting: &Setting, reason: Option<StepFailure>, why: &str) -> Failure {
    let hint = format!("look at {}", setting.log_file().display());
    match reason {
        None => Failure::new("CannotStart", format!("capture did not begin, {why}")).hint(hint),
        Some(reason) => {
            let mut failure = Failure::new(
                "CannotStart",
                format!("capture did not begin, {why}: {}", reason.message),
            )
            .hint(reason.hint.unwrap_or(hint));
            failure.causes = reason.root_cause;
            failure
        }
    }
}

async fn shown(
    setting: &Setting,
    client: Option<&Client>,
    prepared: Prepared,
) -> Result<Shown, Failure> {
    let state = state::read(setting)?;
    let status = Status::read(setting);
    let (lag_bytes, clock) = match (client, &state) {
        (Some(client), Some(state)) => lag(client, state).await?,
        _ => (None, Timestamp(chrono::Utc::now().timestamp_millis())),
    };
    let running = runs(setting)?;
    Ok(Shown {
        identifier: setting.identifier.clone(),
        running,
        phase: status
            .as_ref()
            .map(|status| status.phase)
            .filter(|phase| running || *phase == Phase::Failed),
        failure: status.and_then(|status| status.failure),
        slot: setting.slot.clone(),
        epoch: state.as_ref().map(|state| state.epoch.clone()),
        heartbeat: state.as_ref().map(|state| state.heartbeat.to_string()),
        heartbeat_age_seconds: state
            .as_ref()
            .map(|state| clock.seconds_since(state.heartbeat)),
        flushed_lsn: state.as_ref().map(|state| state.flushed_lsn.clone()),
        lag_bytes,
        tables: state
            .as_ref()
            .map(|state| state.tables.clone())
            .unwrap_or_default(),
        left_out: prepared.left_out,
        needs_reseed: state.map(|state| state.needs_reseed).unwrap_or_default(),
        log: setting.log_file().display().to_string(),
    })
}

/// What the source wrote since the last flush, and its clock.
async fn lag(client: &Client, state: &CaptureState) -> Result<(Option<u64>, Timestamp), Failure> {
    let what = "the source's position cannot be read";
    let statement = "SELECT pg_current_wal_lsn()::text, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let row = one(client, statement, what).await?;
    let behind = slot::lsn(row.get(0))?
        .as_u64()
        .saturating_sub(state::flushed(state)?.as_u64());
    Ok((Some(behind), Timestamp(row.get(1))))
}
