//! The process that captures until it is told to stop.

use super::setting::{Setting, cannot_write};
use super::slot::may_pass;
use super::stream::{Limits, Totals, Watch, follow, told};
use crate::failure::Failure;
use crate::store::disk;
use local::{kill, lock};
use pipeline::report::StepFailure;
use pipeline::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What the process says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    pub process: u32,
    pub phase: Phase,
    pub since: Timestamp,
    /// Why it is not streaming.
    pub failure: Option<StepFailure>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Starting,
    Streaming,
    /// The source is away; it is tried again.
    Retrying,
    Failed,
    Stopped,
}

impl Status {
    pub fn read(setting: &Setting) -> Option<Self> {
        let bytes = std::fs::read(setting.status_file()).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}

/// Between attempts: short at first, since a source that restarts is soon back.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(10);

/// Captures until SIGTERM or a fault that does not pass.
pub async fn run(setting: &Setting, limits: Limits) -> Result<(), Failure> {
    let path = setting.lock_file();
    let lock = lock::try_hold(&path).map_err(|error| cannot_write(&path, &error))?;
    let Some(_lock) = lock else {
        return Err(Failure::new(
            "CaptureRuns",
            format!("capture of `{}` is running already", setting.identifier),
        ));
    };
    // Out of the starter's session: its terminal may go. One that leads a session already stays there.
    let _ = nix::unistd::setsid();
    let process = Process { setting };
    process.says(Phase::Starting, None);
    let (tell, mut stop) = watch::channel(false);
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // Only a process that is ending anyway has no receiver.
        let _ = tell.send(true);
    });
    let mut totals = Totals::default();
    let ended = keep_following(&process, limits, &mut stop, &mut totals).await;
    tracing::info!(?totals, "capture ends");
    match ended {
        Ok(()) => {
            process.says(Phase::Stopped, None);
            Ok(())
        }
        Err(failure) => {
            tracing::error!(hint = failure.hint, causes = ?failure.causes, "{failure}");
            process.says(Phase::Failed, Some(&failure));
            Err(failure)
        }
    }
}

fn listen(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Failure> {
    signal(kind)
        .map_err(|error| Failure::new("NoSignals", "signals cannot be received").caused_by(&error))
}

async fn keep_following(
    process: &Process<'_>,
    limits: Limits,
    stop: &mut watch::Receiver<bool>,
    totals: &mut Totals,
) -> Result<(), Failure> {
    let mut pause = RETRY_FIRST;
    loop {
        let began = Instant::now();
        let Err(failure) = follow(process.setting, limits, process, stop, totals).await else {
            return Ok(());
        };
        if !may_pass(&failure) {
            return Err(failure);
        }
        tracing::warn!(causes = ?failure.causes, "{failure}: trying again");
        process.says(Phase::Retrying, Some(&failure));
        if began.elapsed() > RETRY_LONGEST {
            pause = RETRY_FIRST;
        }
        tokio::select! {
            () = told(stop) => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(RETRY_LONGEST);
    }
}

struct Process<'a> {
    setting: &'a Setting,
}

impl Process<'_> {
    fn says(&self, phase: Phase, failure: Option<&Failure>) {
        let status = Status {
            process: std::process::id(),
            phase,
            since: Timestamp(chrono::Utc::now().timestamp_millis()),
            failure: failure.cloned().map(StepFailure::from),
        };
        let bytes = serde_json::to_vec_pretty(&status).unwrap_or_default();
        if let Err(error) = disk::put(&self.setting.status_file(), &bytes) {
            tracing::warn!(
                "`{}` cannot be written: {error}",
                self.setting.status_file().display()
            );
        }
    }
}

impl Watch for Process<'_> {
    fn point(&self, name: &'static str) -> Result<(), Failure> {
        kill::point(name);
        Ok(())
    }

    fn streaming(&self) {
        tracing::info!("streaming changes of slot `{}`", self.setting.slot);
        self.says(Phase::Streaming, None);
    }

    fn warn(&self, line: &str) {
        tracing::warn!("{line}");
    }
}
