//! Driving executions: what is done once, what is done again after a kill, and what ends a wait.

use local::runner::{Host, drive, drive_chain};
use local::{Local, lock};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tasks::error::TaskError;
use tasks::port::{ExecutionStatus, Executions};

const KILLED_BY_SIGKILL: i32 = 9;

/// Not a story: what the others start as `<this binary> driver_process --exact internal <home> <execution>`.
#[test]
fn driver_process() {
    let arguments: Vec<String> = std::env::args().collect();
    let [.., marker, home, execution] = arguments.as_slice() else {
        return;
    };
    if marker != "internal" {
        return;
    }
    let local = open(Path::new(home));
    let host = Recorder::of(&local);
    block_on(drive_chain(&local, execution, &host)).expect("driven");
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work)
}

fn open(home: &Path) -> Local {
    Local::open(home)
        .expect("opened")
        .with_definition(definition().to_string())
}

fn task(name: &str, next: &str) -> Value {
    json!({
        "Type": "Task",
        "Resource": format!("${{{name}FunctionArn}}"),
        "Parameters": {"execution.$": "$$.Execution.Name"},
        "ResultPath": "$.result",
        "TimeoutSeconds": 60,
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Caught"}],
        "Next": next,
    })
}

fn definition() -> Value {
    json!({
        "StartAt": "First",
        "States": {
            "First": task("First", "Pause"),
            "Pause": {"Type": "Wait", "SecondsPath": "$.pause", "Next": "StartNext"},
            "StartNext": task("StartNext", "Last"),
            "Last": task("Last", "Done"),
            "Done": {"Type": "Succeed"},
            "Caught": {"Type": "Fail", "Error": "Caught", "CausePath": "$.error.Error"},
        }
    })
}

/// Writes each task it runs to a file; `start-next` starts `b` after `a`; `last` of `panics` panics.
struct Recorder<'a> {
    local: &'a Local,
    cancelled: AtomicBool,
}

impl<'a> Recorder<'a> {
    fn of(local: &'a Local) -> Self {
        Self {
            local,
            cancelled: AtomicBool::new(false),
        }
    }

    fn record(&self, line: &str) {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.local.home().root().join("ran"))
            .expect("opened");
        writeln!(file, "{line}").expect("written");
    }
}

impl Host for Recorder<'_> {
    async fn run_task(&self, task: &str, input: Value) -> Result<Value, TaskError> {
        let execution = input["execution"].as_str().expect("a name");
        self.record(&format!("{execution} {task}"));
        match (execution, task) {
            ("panics", "last") => panic!("this task panics"),
            ("fails", "last") => Err(TaskError::Refused("it will not".to_owned())),
            ("a", "start-next") => {
                let next = json!({"pause": 0, "root_run_id": "a"});
                self.local.start_execution("b", &next).await?;
                Ok(json!(null))
            }
            _ => Ok(json!(null)),
        }
    }

    async fn cuts_waits(&self, _execution: &str) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

fn ran(home: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(home.join("ran")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

const CHAIN: [&str; 6] = [
    "a first",
    "a start-next",
    "a last",
    "b first",
    "b start-next",
    "b last",
];

fn driver(home: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["driver_process", "--exact", "internal"])
        .arg(home)
        .arg("a");
    command
}

/// Kills the driver before and after each save of a chain of two executions.
#[test]
fn a_driver_killed_at_any_transition_is_followed_by_one_that_goes_on_from_there() {
    use std::os::unix::process::ExitStatusExt;
    let mut kills = 0;
    for when in ["before", "after"] {
        for nth in 1.. {
            let folder = tempfile::tempdir().expect("a folder");
            let home = folder.path().canonicalize().expect("absolute");
            let local = open(&home);
            block_on(local.start_execution("a", &json!({"pause": 0}))).expect("started");
            let killed = driver(&home)
                .env("HEADWATER_KILL_AT", format!("runner.{when}.save:{nth}"))
                .output()
                .expect("ran");
            if killed.status.success() {
                break;
            }
            kills += 1;
            assert_eq!(killed.status.signal(), Some(KILLED_BY_SIGKILL));
            let second = driver(&home).output().expect("ran");
            assert!(second.status.success(), "{second:?}");
            let mut tasks = ran(&home);
            assert!(tasks.len() <= CHAIN.len() + 1, "{tasks:?}");
            tasks.dedup();
            assert_eq!(tasks, CHAIN, "after the kill {when} save {nth}");
            assert_eq!(
                local.running_executions_since("a").expect("read"),
                Vec::<String>::new()
            );
        }
    }
    assert!(kills >= 16, "only {kills} kills");
}

#[test]
fn of_two_drivers_one_works_and_the_other_sees_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().canonicalize().expect("absolute");
    let local = open(&home);
    block_on(local.start_execution("a", &json!({"pause": 1}))).expect("started");
    let mut drivers: Vec<_> = (0..2)
        .map(|_| driver(&home).spawn().expect("started"))
        .collect();
    for driver in &mut drivers {
        assert!(driver.wait().expect("waited").success());
    }
    assert_eq!(ran(&home), CHAIN);
    assert!(local.history_of("a").expect("read").len() > 10);
}

#[test]
fn a_panic_and_an_error_reach_the_definition_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let local = open(folder.path());
    let host = Recorder::of(&local);
    for (name, error) in [("panics", "Panic"), ("fails", "Refused")] {
        block_on(local.start_execution(name, &json!({"pause": 0}))).expect("started");
        let status = block_on(drive(&local, name, &host)).expect("driven");
        assert_eq!(status, ExecutionStatus::Failed);
        let fault = local.fault_of(name).expect("read");
        assert_eq!(fault, Some(("Caught".to_owned(), error.to_owned())));
    }
}

#[test]
fn a_cancelled_run_does_not_wait_its_time_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let local = open(folder.path());
    let host = Recorder::of(&local);
    host.cancelled.store(true, Ordering::Relaxed);
    block_on(local.start_execution("long", &json!({"pause": 3600}))).expect("started");
    let begun = Instant::now();
    let status = block_on(drive(&local, "long", &host)).expect("driven");
    assert_eq!(status, ExecutionStatus::Succeeded);
    assert!(begun.elapsed() < Duration::from_secs(20));
    let history = local.history_of("long").expect("read");
    assert!(history.is_sorted_by_key(|event| event.at), "{history:?}");
}

#[test]
fn an_execution_whose_definition_cannot_be_read_fails_instead_of_running_for_ever() {
    let folder = tempfile::tempdir().expect("a folder");
    let local = Local::open(folder.path())
        .expect("opened")
        .with_definition("{}".to_owned());
    block_on(local.start_execution("a", &json!({}))).expect("started");
    assert!(block_on(drive(&local, "a", &Recorder::of(&local))).is_err());
    let described = block_on(local.describe_execution("a")).expect("read");
    assert_eq!(described.expect("there").status, ExecutionStatus::Failed);
}

#[test]
fn an_execution_is_without_driver_when_its_lock_is_free() {
    let folder = tempfile::tempdir().expect("a folder");
    let local = open(folder.path());
    block_on(local.start_execution("a", &json!({"pause": 0}))).expect("started");
    let begun = Instant::now();
    while local.executions_without_driver().expect("read").is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
    let path = local.home().execution_lock("a");
    let _alive = lock::try_hold(&path).expect("asked").expect("free");
    assert!(local.executions_without_driver().expect("read").is_empty());
}
