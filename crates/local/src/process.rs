//! Processes: our own programs started so that they outlive their starter, steps started so that they do not, and how all of a step's processes are ended.

use crate::home::Home;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getppid, setsid};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Marks every process of a cluster, whatever it started itself.
pub const CLUSTER_MARK: &str = "HEADWATER_CLUSTER_ID";
/// Marks every process of a step.
pub const STEP_MARK: &str = "HEADWATER_STEP_ID";
/// Where the home folder is, for every process that we start.
pub const HOME_VARIABLE: &str = "HEADWATER_HOME";
/// Instead of the `headwater-worker` beside the program.
const WORKER_VARIABLE: &str = "HEADWATER_WORKER";
const WORKER: &str = "headwater-worker";

/// Marked processes may start others while they are ended: so often is looked for more.
const KILL_ROUNDS_MAX: u32 = 100;

/// How to start this program anew.
#[derive(Debug, Clone)]
pub struct Program {
    pub path: PathBuf,
    /// Come before all other arguments.
    pub arguments: Vec<String>,
}

/// Hidden commands, each the body of a process that outlives its starter: `internal <name> <home> <subject>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Internal<'a> {
    /// Supervises a cluster.
    Cluster(&'a str),
    /// Drives an execution.
    Drive(&'a str),
    Sweep,
}

impl Internal<'_> {
    /// Arguments for a home folder.
    fn arguments(&self, home: &Home) -> Vec<std::ffi::OsString> {
        let (name, subject) = match self {
            Self::Cluster(id) => ("cluster", Some(id)),
            Self::Drive(name) => ("drive", Some(name)),
            Self::Sweep => ("sweep", None),
        };
        let mut arguments = vec!["internal".into(), name.into(), home.root().into()];
        arguments.extend(subject.map(|subject| (*subject).into()));
        arguments
    }

    fn log(&self, home: &Home) -> PathBuf {
        match self {
            Self::Cluster(id) => home.cluster_logs(id).join("supervisor.log"),
            Self::Drive(name) => home
                .logs()
                .join(format!("drive-{}.log", pipeline::path::segment(name))),
            Self::Sweep => home.logs().join("sweep.log"),
        }
    }
}

impl Program {
    /// The program that is running.
    pub fn this() -> Self {
        Self {
            // Without /proc the name by which it was called is the best that is known.
            path: std::env::current_exe()
                .unwrap_or_else(|_| std::env::args_os().next().unwrap_or_default().into()),
            arguments: Vec::new(),
        }
    }

    /// The worker: what HEADWATER_WORKER names, or the one beside this program.
    pub fn worker(&self) -> PathBuf {
        match std::env::var_os(WORKER_VARIABLE) {
            Some(path) => path.into(),
            None => self.path.with_file_name(WORKER),
        }
    }

    /// Starts a process of its own session, which goes on when this one ends, however it ends.
    pub fn start(&self, home: &Home, internal: Internal<'_>) -> io::Result<()> {
        let log = internal.log(home);
        let log = appending(&log)?;
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .args(internal.arguments(home))
            .env(HOME_VARIABLE, home.root())
            // Started from within a step, it still is not a part of that step.
            .env_remove(CLUSTER_MARK)
            .env_remove(STEP_MARK)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if !matches!(internal, Internal::Cluster(_)) {
            // Who repairs what a kill point broke must not die at the same point.
            command.env_remove("HEADWATER_KILL_AT");
        }
        in_own_session(&mut command);
        let mut child = command.spawn()?;
        // Its end is collected, so that no zombie stays in a long-lived process.
        std::thread::spawn(move || child.wait());
        Ok(())
    }
}

/// A step of a cluster: its program, and where its output goes.
pub struct StepProcess<'a> {
    pub home: &'a Home,
    pub cluster: &'a str,
    pub step: &'a str,
    pub arguments: &'a [String],
}

impl StepProcess<'_> {
    /// Starts it in a process group of its own. It dies with this thread's process.
    pub fn start(&self, program: &Program) -> io::Result<Child> {
        let Some((name, arguments)) = self.arguments.split_first() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a step without a program",
            ));
        };
        let path = if name == WORKER {
            program.worker()
        } else {
            name.into()
        };
        let logs = self.home.step_logs(self.cluster, self.step);
        let mut command = Command::new(&path);
        command
            .args(arguments)
            .env(HOME_VARIABLE, self.home.root())
            .env(CLUSTER_MARK, self.cluster)
            .env(STEP_MARK, self.step)
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(appending(&logs.join("stdout"))?)
            .stderr(appending(&logs.join("stderr"))?)
            .process_group(0);
        die_with_parent(&mut command);
        command.spawn().map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("`{}` cannot be started: {error}", path.display()),
            )
        })
    }
}

fn appending(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

#[allow(unsafe_code)]
fn in_own_session(command: &mut Command) {
    // SAFETY: between fork and exec only setsid is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            setsid()?;
            Ok(())
        });
    }
}

/// Makes the process that this starts die when the thread that starts it does.
#[allow(unsafe_code)]
pub fn die_with_parent(command: &mut Command) {
    let parent = Pid::this();
    // SAFETY: between fork and exec only prctl and getppid are called, which are async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // A parent that died before the call above sends no signal.
            if getppid() == parent {
                Ok(())
            } else {
                Err(Errno::ESRCH.into())
            }
        });
    }
}

/// Sends a signal to a child's process group. The child must not have been waited for: until then its number is its own.
pub fn signal_group(child: &Child, signal: Signal) {
    if let Ok(id) = i32::try_from(child.id()) {
        // A group that is gone needs no signal.
        let _ = killpg(Pid::from_raw(id), signal);
    }
}

/// Ends every process that carries a mark in its environment, as inherited from the step, and sees them gone.
/// Process groups do not reach one that made itself another group.
pub fn kill_marked(variable: &str, value: &str) {
    let mark = format!("{variable}={value}");
    for _ in 0..KILL_ROUNDS_MAX {
        let found = marked(mark.as_bytes());
        if found.is_empty() {
            return;
        }
        for process in found {
            let _ = kill(process, Signal::SIGKILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn marked(mark: &[u8]) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| process_id(&entry.file_name()))
        .filter(|process| *process != Pid::this() && carries(*process, mark))
        .collect()
}

fn process_id(name: &OsStr) -> Option<Pid> {
    std::str::from_utf8(name.as_bytes())
        .ok()?
        .parse()
        .ok()
        .map(Pid::from_raw)
}

/// A zombie's environment is empty, so it is not found.
fn carries(process: Pid, mark: &[u8]) -> bool {
    fs::read(format!("/proc/{process}/environ")).is_ok_and(|environment| {
        environment
            .split(|byte| *byte == 0)
            .any(|part| part == mark)
    })
}
