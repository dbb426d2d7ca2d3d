//! The process behind a cluster: starts its steps, ends them on request, and says so in the cluster's rows.
//!
//! It holds the cluster's lock as long as it lives. All steps are its children and die with it, so a cluster
//! whose lock is free runs nothing. Whatever fails here ends the process: the next look at the cluster buries it.

use crate::process::{self, Internal, StepProcess};
use crate::{Local, lock, port_error};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeMap;
use std::io;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};
use tasks::port::{Clock, PortError};

/// Between two looks at children and requests: what a step start is late by.
const PASS_INTERVAL: Duration = Duration::from_millis(25);
/// From SIGTERM to SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(5);
/// Between two looks at whether a running execution has lost its driver.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// So long a driver may be missing before a sweep is started: another process may be about to take over.
const DRIVER_GRACE: Duration = Duration::from_secs(4);

#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("cluster `{cluster}`: {source}")]
    Process { cluster: String, source: io::Error },
}

/// Supervises a cluster until it has ended. The thread that calls this must be the process's main thread: steps die with it.
pub fn supervise(local: &Local, cluster: &str) -> Result<(), SupervisorError> {
    let broken = |source| SupervisorError::Process {
        cluster: cluster.to_owned(),
        source,
    };
    let _alive = lock::hold(&local.home().cluster_lock(cluster)).map_err(broken)?;
    let mut supervisor = Supervisor::begin(local, cluster)?;
    while supervisor.pass().map_err(|error| match error {
        Fault::Port(error) => error.into(),
        Fault::Process(source) => broken(source),
    })? == Pass::GoOn
    {
        std::thread::sleep(PASS_INTERVAL);
    }
    Ok(())
}

enum Fault {
    Port(PortError),
    Process(io::Error),
}

impl From<PortError> for Fault {
    fn from(error: PortError) -> Self {
        Self::Port(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Process(error)
    }
}

#[derive(PartialEq)]
enum Pass {
    GoOn,
    Ended,
}

struct Supervisor<'a> {
    local: &'a Local,
    cluster: &'a str,
    step_concurrency: usize,
    idle_timeout: Duration,
    children: BTreeMap<String, Running>,
    /// The state that the row shows.
    state: String,
    idle_since: Instant,
    driver_missing_since: Option<Instant>,
    watched: Instant,
}

struct Running {
    child: Child,
    /// When SIGTERM was sent.
    ending: Option<Instant>,
}

/// What the rows ask for.
struct Requests {
    terminate: bool,
    pending: Vec<(String, String)>,
    cancel: Vec<String>,
}

impl<'a> Supervisor<'a> {
    fn begin(local: &'a Local, cluster: &'a str) -> Result<Self, PortError> {
        let (concurrency, idle, state): (i64, i64, String) = local
            .database()
            .query_row(
                "SELECT step_concurrency, idle_timeout_seconds, state FROM clusters WHERE id = ?1",
                [cluster],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()
            .map_err(port_error)?
            .ok_or_else(|| PortError::Refused {
                service: "cluster",
                message: format!("there is no cluster `{cluster}`"),
            })?;
        Ok(Self {
            local,
            cluster,
            step_concurrency: usize::try_from(concurrency).unwrap_or(1).max(1),
            idle_timeout: Duration::from_secs(idle.unsigned_abs()),
            children: BTreeMap::new(),
            state,
            idle_since: Instant::now(),
            driver_missing_since: None,
            watched: Instant::now(),
        })
    }

    fn pass(&mut self) -> Result<Pass, Fault> {
        if self.state.starts_with("TERMINATED") || !self.local.home().database().exists() {
            // Buried while it started, or its whole home was removed.
            return Ok(Pass::Ended);
        }
        self.reap()?;
        let requests = self.requests()?;
        if requests.terminate {
            return self.terminate();
        }
        self.cancel(&requests.cancel);
        self.start(&requests.pending)?;
        if self.idle(&requests.pending) {
            return self.end("ALL_STEPS_COMPLETED", "idle for its idle time-out");
        }
        self.show(if self.children.is_empty() {
            "WAITING"
        } else {
            "RUNNING"
        })?;
        self.watch_drivers()?;
        Ok(Pass::GoOn)
    }

    fn requests(&self) -> Result<Requests, PortError> {
        let database = self.local.database();
        let terminate = database
            .prepare_cached("SELECT terminate FROM clusters WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([self.cluster], |row| row.get(0)))
            .map_err(port_error)?;
        let mut statement = database
            .prepare_cached("SELECT id, arguments, state FROM steps WHERE cluster = ?1 AND state IN ('PENDING', 'CANCEL_PENDING') ORDER BY number")
            .map_err(port_error)?;
        let mut requests = Requests {
            terminate,
            pending: Vec::new(),
            cancel: Vec::new(),
        };
        let mut rows = statement.query([self.cluster]).map_err(port_error)?;
        while let Some(row) = rows.next().map_err(port_error)? {
            let id = row.get(0).map_err(port_error)?;
            let state: String = row.get(2).map_err(port_error)?;
            if state == "PENDING" {
                requests.pending.push((id, row.get(1).map_err(port_error)?));
            } else {
                requests.cancel.push(id);
            }
        }
        Ok(requests)
    }

    /// Starts steps in order, as many as may run at once.
    fn start(&mut self, pending: &[(String, String)]) -> Result<(), Fault> {
        for (step, arguments) in pending {
            if self.children.len() >= self.step_concurrency {
                break;
            }
            self.start_one(step, arguments)?;
        }
        Ok(())
    }

    fn start_one(&mut self, step: &str, arguments: &str) -> Result<(), Fault> {
        // A cancellation may have come first: then it is not started.
        let taken = self
            .local
            .database()
            .execute(
                "UPDATE steps SET state = 'RUNNING', started = ?2 WHERE id = ?1 AND state = 'PENDING'",
                params![step, self.local.now().0],
            )
            .map_err(port_error)?;
        if taken == 0 {
            return Ok(());
        }
        let arguments: Vec<String> = serde_json::from_str(arguments).unwrap_or_default();
        let process = StepProcess {
            home: self.local.home(),
            cluster: self.cluster,
            step,
            arguments: &arguments,
        };
        match process.start(self.local.program()) {
            Ok(child) => {
                let ending = None;
                self.children
                    .insert(step.to_owned(), Running { child, ending });
                Ok(())
            }
            Err(error) => Ok(self.step_ended(step, "FAILED", Some(&error.to_string()))?),
        }
    }

    /// Records what children have ended. What they left behind is ended with them.
    fn reap(&mut self) -> Result<(), Fault> {
        let steps: Vec<String> = self.children.keys().cloned().collect();
        for step in steps {
            let Some(running) = self.children.get_mut(&step) else {
                continue;
            };
            if running
                .ending
                .is_some_and(|since| since.elapsed() >= TERM_GRACE)
            {
                process::signal_group(&running.child, Signal::SIGKILL);
            }
            if !exited(&running.child)? {
                continue;
            }
            // Not yet waited for: its group's number is still its own.
            process::signal_group(&running.child, Signal::SIGKILL);
            let status = running.child.wait()?;
            let was_ended = running.ending.is_some();
            process::kill_marked(process::STEP_MARK, &step);
            self.children.remove(&step);
            self.idle_since = Instant::now();
            self.record_exit(&step, status, was_ended)?;
        }
        Ok(())
    }

    fn record_exit(
        &self,
        step: &str,
        status: ExitStatus,
        was_ended: bool,
    ) -> Result<(), PortError> {
        let failure = failure(status);
        match (failure, was_ended, self.state == "TERMINATING") {
            (None, ..) => self.step_ended(step, "COMPLETED", None),
            (Some(_), true, true) => {
                self.step_ended(step, "INTERRUPTED", Some("its cluster was terminated"))
            }
            (Some(_), true, false) => self.step_ended(step, "CANCELLED", None),
            (Some(failure), false, _) => self.step_ended(step, "FAILED", Some(&failure)),
        }
    }

    fn step_ended(&self, step: &str, state: &str, failure: Option<&str>) -> Result<(), PortError> {
        self.local
            .database()
            .execute(
                "UPDATE steps SET state = ?2, failure = ?3, ended = ?4 WHERE id = ?1",
                params![step, state, failure, self.local.now().0],
            )
            .map(|_| ())
            .map_err(port_error)
    }

    fn cancel(&mut self, steps: &[String]) {
        for step in steps {
            if let Some(running) = self.children.get_mut(step) {
                running.end();
            }
        }
    }

    fn terminate(&mut self) -> Result<Pass, Fault> {
        self.state = "TERMINATING".to_owned();
        self.local
            .database()
            .execute(
                "UPDATE steps SET state = 'CANCELLED', ended = ?2 WHERE cluster = ?1 AND state = 'PENDING'",
                params![self.cluster, self.local.now().0],
            )
            .map_err(port_error)?;
        for running in self.children.values_mut() {
            running.end();
        }
        if self.children.is_empty() {
            return self.end("USER_REQUEST", "terminated by request");
        }
        Ok(Pass::GoOn)
    }

    fn idle(&mut self, pending: &[(String, String)]) -> bool {
        if !self.children.is_empty() || !pending.is_empty() {
            self.idle_since = Instant::now();
        }
        self.idle_since.elapsed() >= self.idle_timeout
    }

    /// The last act: nothing of this cluster runs any more. A step that came in the same moment is cancelled with it.
    fn end(&mut self, code: &str, reason: &str) -> Result<Pass, Fault> {
        process::kill_marked(process::CLUSTER_MARK, self.cluster);
        let now = self.local.now().0;
        let mut database = self.local.database();
        let transaction = database.transaction().map_err(port_error)?;
        transaction
            .execute(
                "UPDATE clusters SET state = 'TERMINATED', reason_code = ?2, reason = ?3, ended = ?4 WHERE id = ?1",
                params![self.cluster, code, reason, now],
            )
            .map_err(port_error)?;
        transaction
            .execute(
                "UPDATE steps SET state = 'CANCELLED', ended = ?2 WHERE cluster = ?1 AND state = 'PENDING'",
                params![self.cluster, now],
            )
            .map_err(port_error)?;
        transaction.commit().map_err(port_error)?;
        Ok(Pass::Ended)
    }

    /// A termination that was asked for meanwhile is not overwritten.
    fn show(&mut self, state: &str) -> Result<(), PortError> {
        if self.state == state {
            return Ok(());
        }
        self.local
            .database()
            .execute(
                "UPDATE clusters SET state = ?2 WHERE id = ?1 AND terminate = 0",
                params![self.cluster, state],
            )
            .map_err(port_error)?;
        self.state = state.to_owned();
        Ok(())
    }

    /// A killed driver is followed by a sweep, which starts another: nobody needs to type a command.
    fn watch_drivers(&mut self) -> Result<(), Fault> {
        if self.watched.elapsed() < WATCH_INTERVAL {
            return Ok(());
        }
        self.watched = Instant::now();
        if self.local.executions_without_driver()?.is_empty() {
            self.driver_missing_since = None;
            return Ok(());
        }
        let since = *self.driver_missing_since.get_or_insert(self.watched);
        if since.elapsed() >= DRIVER_GRACE {
            self.driver_missing_since = None;
            self.local
                .program()
                .start(self.local.home(), Internal::Sweep)?;
        }
        Ok(())
    }
}

impl Running {
    fn end(&mut self) {
        if self.ending.is_none() {
            self.ending = Some(Instant::now());
            process::signal_group(&self.child, Signal::SIGTERM);
        }
    }
}

/// Whether a child has ended, without taking note of it: its number stays taken until it is waited for.
fn exited(child: &Child) -> io::Result<bool> {
    let id = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    loop {
        match waitid(Id::Pid(id), flags) {
            Ok(WaitStatus::StillAlive) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// `None` for success.
fn failure(status: ExitStatus) -> Option<String> {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("exit status {code}")),
        (None, signal) => Some(match signal.and_then(|raw| Signal::try_from(raw).ok()) {
            Some(signal) => format!("killed by {signal}"),
            None => status.to_string(),
        }),
    }
}
