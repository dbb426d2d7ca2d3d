//! A step that is a program: a script of a custom pipeline, or spark-submit. It is told where the lake is by its environment, and
//! ends when the step may not go on.

use crate::context::Guard;
use crate::failure::Failure;
use crate::job::Job;
use crate::store;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use pipeline::report::StepReport;
use pipeline::time::Timestamp;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tasks::step::GUARD_INTERVAL_SECONDS;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// Lines of stderr that a failure keeps: the last ones say why.
const ROOT_CAUSE_LINES_MAX: usize = 20;
/// Characters of one of them.
const LINE_CHARACTERS_MAX: usize = 400;
/// Bytes in which these are: of a longer line the rest is passed on only.
const LINE_BYTES_MAX: usize = 4 * LINE_CHARACTERS_MAX;
/// Programs whose first argument is a script, as plans begin with them.
const INTERPRETERS: [&str; 2] = ["python3", "sh"];
/// Stands for the run's id in arguments.
pub const RUN_ID_TOKEN: &str = "{run_id}";
/// Between two looks at whether a program may go on.
pub const LOOK: Duration = Duration::from_secs(GUARD_INTERVAL_SECONDS);
/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// Programs that this process watches now.
static WATCHED: AtomicUsize = AtomicUsize::new(0);

/// Whether a program is watched: then it is ended, with its step, by who watches it.
pub fn is_watched() -> bool {
    WATCHED.load(Ordering::Relaxed) > 0
}

/// Runs a script to its end.
pub async fn run(
    job: &Job<'_>,
    arguments: &[String],
    complete_through: Option<Timestamp>,
    guard: &impl Guard,
) -> Result<StepReport, Failure> {
    let mut arguments: Vec<String> = arguments
        .iter()
        .map(|argument| argument.replace(RUN_ID_TOKEN, job.run_id))
        .collect();
    let named = arguments.get(1).or(arguments.first());
    let named = named.cloned().unwrap_or_default();
    let _fetched = fetch(&mut arguments)?;
    let environment = environment(job, complete_through);
    let told = Told {
        named: &named,
        says: Says::OnStderr,
    };
    execute(&arguments, environment, told, guard, LOOK).await?;
    Ok(StepReport::default())
}

/// What a failure says of a program.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// What it is called.
    pub named: &'a str,
    pub says: Says,
}

/// Where a program says what went wrong.
#[derive(Clone, Copy)]
pub enum Says {
    /// In the last lines of stderr.
    OnStderr,
    /// In those lines of stdout and stderr for which this holds.
    OnBoth(fn(&str) -> bool),
}

impl Says {
    fn tells(self, line: &str) -> bool {
        match self {
            Self::OnStderr => true,
            Self::OnBoth(telling) => telling(line),
        }
    }
}

/// Runs a program to its end. Its output is the step's output. It is not begun, or is ended, when
/// the guard says so, and when this process is told to end or dies.
pub async fn execute(
    arguments: &[String],
    environment: Vec<(&'static str, String)>,
    told: Told<'_>,
    guard: &impl Guard,
    look: Duration,
) -> Result<(), Failure> {
    let Some((program, rest)) = arguments.split_first() else {
        return Err(Failure::new("ProgramMissing", "the step names no program"));
    };
    guard.may_commit().await?;
    let mut command = Command::new(program);
    command
        .args(rest)
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(match told.says {
            Says::OnStderr => Stdio::inherit(),
            Says::OnBoth(_) => Stdio::piped(),
        })
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    local::process::die_with_parent(command.as_std_mut());
    let mut child = command
        .spawn()
        .map_err(|error| not_started(program, &error))?;
    let group = child.id();
    let (status, last) = {
        let _watched = Watched::begin();
        let mut ended = pin!(end_of(&mut child, told.says));
        let stop = tokio::select! {
            ended = &mut ended => Ok(ended),
            stop = over(guard, look) => Err(stop),
            stop = told_to_end() => Err(stop),
        };
        match stop {
            Ok(ended) => ended,
            Err(stop) => {
                send(group, Signal::SIGTERM);
                let _ = tokio::time::timeout(GRACE, &mut ended).await;
                // Also what it started and left behind.
                send(group, Signal::SIGKILL);
                return Err(stop);
            }
        }
    };
    let status = status.map_err(|error| {
        Failure::new("ProgramLost", format!("`{program}` was lost")).caused_by(&error)
    })?;
    match status.success() {
        true => Ok(()),
        false => Err(failed(told.named, status, last)),
    }
}

/// Counts while it lives.
struct Watched;

impl Watched {
    fn begin() -> Self {
        WATCHED.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        WATCHED.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn end_of(child: &mut Child, says: Says) -> (std::io::Result<ExitStatus>, Vec<String>) {
    let last = RefCell::new(VecDeque::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    tokio::join!(
        async {
            if let Some(stdout) = stdout {
                pass_on(stdout, std::io::stdout(), says, &last).await;
            }
        },
        async {
            if let Some(stderr) = stderr {
                pass_on(stderr, std::io::stderr(), says, &last).await;
            }
        }
    );
    (child.wait().await, last.into_inner().into())
}

/// Why a program may not go on, once it may not. A ledger that cannot be reached is waited for: the program's own commits are few.
async fn over(guard: &impl Guard, look: Duration) -> Failure {
    loop {
        tokio::time::sleep(look).await;
        match guard.may_commit().await {
            Ok(()) => {}
            Err(failure) if failure.error == "LedgerUnreachable" => {}
            Err(failure) => return failure,
        }
    }
}

/// Whoever ends this process ends the program too.
async fn told_to_end() -> Failure {
    match signal(SignalKind::terminate()) {
        Ok(mut told) => {
            told.recv().await;
            Failure::new("Terminated", "the step was told to end")
        }
        Err(_) => std::future::pending().await,
    }
}

fn send(group: Option<u32>, signal: Signal) {
    if let Some(Ok(group)) = group.map(i32::try_from) {
        // A group that is gone needs no signal.
        let _ = killpg(Pid::from_raw(group), signal);
    }
}

/// A script in a bucket becomes a file of this machine, which is gone when the step is over: interpreters open no other. What
/// Spark is given it opens itself.
fn fetch(arguments: &mut [String]) -> Result<Option<TempDir>, Failure> {
    let script = match arguments {
        [interpreter, script, ..] if INTERPRETERS.contains(&interpreter.as_str()) => script,
        [program, ..] => program,
        [] => return Ok(None),
    };
    if !script.starts_with("s3://") {
        return Ok(None);
    }
    let place = store::location(script)?;
    let fetched = || {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(place.name());
        std::fs::write(&path, place.read()?)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o700))?;
        Ok((folder, path))
    };
    let (folder, path) = fetched().map_err(|error: std::io::Error| {
        Failure::new("ProgramMissing", format!("`{place}` cannot be fetched"))
            .hint("put the script there, or name another one in `entrypoint`")
            .caused_by(&error)
    })?;
    *script = path.to_string_lossy().into_owned();
    Ok(Some(folder))
}

/// What a program is told of the lake and of its run.
pub fn environment(
    job: &Job<'_>,
    complete_through: Option<Timestamp>,
) -> Vec<(&'static str, String)> {
    let zones = &job.plan.zones;
    let mut variables = vec![
        ("HEADWATER_BRONZE_URI", zones.bronze.clone()),
        ("HEADWATER_SILVER_URI", zones.silver.clone()),
        ("HEADWATER_GOLD_URI", zones.gold.clone()),
        ("HEADWATER_RUN_ID", job.run_id.to_owned()),
    ];
    variables.extend(complete_through.map(|at| ("HEADWATER_COMPLETE_THROUGH", at.to_string())));
    variables
}

/// Writes what comes to our own output as it is, and keeps the last lines that tell something.
async fn pass_on(
    from: impl AsyncRead + Unpin,
    mut to: impl Write,
    says: Says,
    last: &RefCell<VecDeque<String>>,
) {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    // A pipe that breaks ends like one that was closed: the exit status says what happened.
    while let Ok(bytes) = reader.fill_buf().await
        && !bytes.is_empty()
    {
        let _ = to.write_all(bytes);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_BYTES_MAX.saturating_sub(line.len());
            line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                keep(&mut last.borrow_mut(), &line, says);
                line.clear();
            }
        }
        let passed = bytes.len();
        reader.consume(passed);
    }
    keep(&mut last.borrow_mut(), &line, says);
}

fn keep(last: &mut VecDeque<String>, line: &[u8], says: Says) {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    if text.is_empty() || !says.tells(text) {
        return;
    }
    last.push_back(text.chars().take(LINE_CHARACTERS_MAX).collect());
    if last.len() > ROOT_CAUSE_LINES_MAX {
        last.pop_front();
    }
}

fn not_started(program: &str, error: &std::io::Error) -> Failure {
    let failure = Failure::new("ProgramMissing", format!("`{program}` cannot be started"));
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            failure.hint("install it, or put its folder into PATH; scripts are looked for in `jobs/` of the home folder")
        }
        std::io::ErrorKind::PermissionDenied => failure.hint(format!("chmod +x '{program}'")),
        _ => failure,
    }
    .caused_by(error)
}

fn failed(program: &str, status: ExitStatus, last: Vec<String>) -> Failure {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    };
    let mut failure = Failure::new("ProgramFailed", format!("`{program}` failed: {how}"));
    failure.causes = last;
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::deployment::Deployment;
    use pipeline::plan::Plan;
    use pipeline::planning::{PlanRequest, plan};
    use serde_json::json;

    fn custom() -> Plan {
        let items = [
            json!({"identifier": "shop", "config": "database::config", "secret": "s", "target_db_name": "d", "target_table_prefix": "shop"}),
            json!({"identifier": "shop", "config": "pipeline::custom::gold"}),
            json!({"identifier": "shop", "config": "step::gold::one", "enabled": true, "entrypoint": ["one.sh"]}),
        ];
        let request = PlanRequest {
            identifier: "shop".into(),
            pipeline: "gold".into(),
            engine: None,
        };
        plan(&items, &Deployment::local("/home"), &request).expect("a plan")
    }

    struct Free;

    impl Guard for Free {
        async fn may_commit(&self) -> Result<(), Failure> {
            Ok(())
        }
    }

    async fn run_shell(script: &str) -> Result<StepReport, Failure> {
        let plan = custom();
        let job = Job {
            run_id: "shop-gold-1",
            plan: &plan,
            secrets: crate::secret::Secrets::Folder(std::path::Path::new("/nowhere")),
        };
        let arguments = ["sh", "-c", script, "{run_id}"].map(str::to_owned);
        run(&job, &arguments, Some(Timestamp(0)), &Free).await
    }

    #[tokio::test]
    async fn a_program_finds_the_lake_and_its_run() {
        let told = "[ \"$0\" = shop-gold-1 ] && [ \"$HEADWATER_RUN_ID\" = shop-gold-1 ] \
            && [ \"$HEADWATER_SILVER_URI\" = file:///home/lake/silver/shop ] \
            && [ \"$HEADWATER_COMPLETE_THROUGH\" = 1970-01-01T00:00:00.000Z ]";
        assert!(run_shell(told).await.is_ok());
    }

    #[tokio::test]
    async fn a_failed_program_shows_its_last_lines() {
        let failure = run_shell("for i in $(seq 30); do echo line $i >&2; done; exit 3")
            .await
            .expect_err("it fails");
        assert_eq!(failure.error, "ProgramFailed");
        assert!(failure.message.ends_with("exit status 3"), "{failure}");
        assert_eq!(failure.causes.len(), ROOT_CAUSE_LINES_MAX);
        assert_eq!(failure.causes.last().map(String::as_str), Some("line 30"));
        let endless = "{ head -c 9000 /dev/zero | tr '\\0' x; echo; printf 'no end'; } >&2; exit 1";
        let failure = run_shell(endless).await.expect_err("it fails");
        assert_eq!(
            failure.causes,
            ["x".repeat(LINE_CHARACTERS_MAX), "no end".to_owned()]
        );
        let killed = run_shell("kill -9 $$").await.expect_err("it fails");
        assert!(killed.message.ends_with("killed by signal 9"), "{killed}");
    }

    #[cfg(feature = "aws")]
    #[tokio::test]
    async fn a_script_in_a_bucket_is_run_from_this_machine() {
        let plan = custom();
        let job = Job {
            run_id: "r",
            plan: &plan,
            secrets: crate::secret::Secrets::Folder(std::path::Path::new("/nowhere")),
        };
        let bucket = crate::test_moto::moto().bucket();
        let put = |name: &str, text: &str| {
            let uri = format!("{bucket}/jobs/{name}");
            let place = store::location(&uri).expect("a place");
            place.put(text.as_bytes()).expect("put");
            uri
        };
        let by_name = put("one.sh", "[ \"${0##*/} $1\" = \"one.sh s3://as/it/is\" ]\n");
        let by_itself = put("two", "#!/bin/sh\n[ $# = 1 ]\n");
        let other = "s3://as/it/is";
        for arguments in [vec!["sh", &by_name, other], vec![&by_itself, other]] {
            let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
            run(&job, &arguments, None, &Free)
                .await
                .expect("it succeeds");
        }
        let gone = format!("{bucket}/jobs/gone.py");
        let failure = run(&job, &["python3".to_owned(), gone], None, &Free).await;
        let failure = failure.expect_err("it fails");
        assert_eq!(failure.error, "ProgramMissing");
        assert!(failure.message.contains("/jobs/gone.py"), "{failure}");
    }

    #[tokio::test]
    async fn a_program_and_what_it_started_end_when_the_step_may_not_go_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let marker = folder.path().join("inner");
        // The shell inside outlives the one that a signal to a single process would end.
        let script = format!(
            "sh -c 'echo $$ >{0}; exec sleep 600' & wait",
            marker.display()
        );
        let arguments = ["sh", "-c", &script].map(str::to_owned);
        let cancelled = CancelledWhenThere(&marker);
        let look = Duration::from_millis(5);
        let told = Told {
            named: "sh",
            says: Says::OnStderr,
        };
        let failure = execute(&arguments, Vec::new(), told, &cancelled, look).await;
        assert_eq!(failure.expect_err("it is ended").error, "Cancelled");
        let inner = std::fs::read_to_string(&marker).expect("it had begun");
        let inner = Pid::from_raw(inner.trim().parse().expect("a process id"));
        for _ in 0..1000 {
            if is_gone(inner) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the inner program outlived the step");
    }

    /// Gone, or dead and not yet collected by who inherited it.
    fn is_gone(process: Pid) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{process}/stat"));
        status.map_or(true, |status| status.contains(") Z "))
    }

    /// Lets a program begin, and go on until it has written a process id.
    struct CancelledWhenThere<'a>(&'a std::path::Path);

    impl Guard for CancelledWhenThere<'_> {
        async fn may_commit(&self) -> Result<(), Failure> {
            match std::fs::read_to_string(self.0) {
                Ok(text) if text.ends_with('\n') => {
                    Err(Failure::new("Cancelled", "run `r` was cancelled"))
                }
                _ => Ok(()),
            }
        }
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let plan = custom();
        let job = Job {
            run_id: "r",
            plan: &plan,
            secrets: crate::secret::Secrets::Folder(std::path::Path::new("/nowhere")),
        };
        let failure = run(&job, &["/no/such/program".to_owned()], None, &Free)
            .await
            .expect_err("it fails");
        assert_eq!(failure.error, "ProgramMissing");
        assert!(failure.message.contains("`/no/such/program`"), "{failure}");
    }
}
