//! Clusters with real processes: this test binary, started anew, is the supervisor.

use local::Local;
use local::process::{CLUSTER_MARK, Program};
use pipeline::plan::ClusterSpec;
use pipeline::time::Timestamp;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};
use tasks::port::{
    ClusterDescription, ClusterState, Clusters, PortError, StepRequest, StepState, StepSummary,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// Not a story: what the other tests start as `<this binary> supervisor_process --exact internal cluster <home> <id>`.
#[test]
fn supervisor_process() {
    let arguments: Vec<String> = std::env::args().collect();
    let Some(at) = arguments.iter().position(|argument| argument == "internal") else {
        return;
    };
    let local = open(Path::new(&arguments[at + 2]));
    local::supervisor::supervise(&local, &arguments[at + 3]).expect("supervised to its end");
}

fn open(folder: &Path) -> Local {
    let program = Program {
        path: std::env::current_exe().expect("this program"),
        arguments: ["supervisor_process", "--exact", "--nocapture"]
            .map(str::to_owned)
            .to_vec(),
    };
    Local::open_with(folder, program).expect("opened")
}

struct Case {
    local: Local,
    id: String,
    _folder: tempfile::TempDir,
}

impl Drop for Case {
    fn drop(&mut self) {
        local::process::kill_marked(CLUSTER_MARK, &self.id);
        for process in processes(|_, command| command.contains(&self.id)) {
            kill(process);
        }
    }
}

async fn cluster(step_concurrency: u32, idle_timeout_seconds: u32) -> Case {
    let folder = tempfile::tempdir().expect("a folder");
    let local = open(folder.path());
    let spec = ClusterSpec {
        step_concurrency,
        idle_timeout_seconds,
        run_job_flow: Value::Null,
    };
    let id = local
        .create_cluster("headwater-a-c1", &spec, &[])
        .await
        .expect("created");
    Case {
        local,
        id,
        _folder: folder,
    }
}

fn shell(name: &str, script: &str) -> StepRequest {
    StepRequest {
        name: name.to_owned(),
        arguments: vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()],
    }
}

impl Case {
    async fn add(&self, steps: &[StepRequest]) -> Vec<String> {
        self.local.add_steps(&self.id, steps).await.expect("added")
    }

    /// Steps in the order in which they were added.
    async fn steps(&self) -> Vec<StepSummary> {
        let mut steps = self.local.list_steps(&self.id, &[]).await.expect("listed");
        steps.reverse();
        steps
    }

    async fn states(&self) -> Vec<StepState> {
        self.steps().await.into_iter().map(|s| s.state).collect()
    }

    async fn describe(&self) -> ClusterDescription {
        let found = self.local.describe_cluster(&self.id).await;
        found.expect("described").expect("there")
    }

    async fn until_states(&self, expected: &[StepState]) {
        until(
            async || self.states().await == expected,
            async || format!("{:?}", self.steps().await),
        )
        .await;
    }

    async fn until_cluster(&self, expected: ClusterState) {
        until(
            async || self.describe().await.state == expected,
            async || format!("{:?}", self.describe().await),
        )
        .await;
    }

    fn log(&self, step: &str, stream: &str) -> String {
        let path = self.local.home().step_logs(&self.id, step).join(stream);
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// Everything that the cluster's steps started and that lives.
    fn living(&self) -> Vec<i32> {
        let mark = format!("{CLUSTER_MARK}={}", self.id);
        processes(|environment, _| environment.split('\0').any(|part| part == mark))
    }
}

async fn until(done: impl AsyncFn() -> bool, seen: impl AsyncFn() -> String) {
    let begun = Instant::now();
    while !done().await {
        assert!(begun.elapsed() < DEADLINE, "still: {}", seen().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn processes(wanted: impl Fn(&str, &str) -> bool) -> Vec<i32> {
    let read = |id: i32, what: &str| {
        let bytes = std::fs::read(format!("/proc/{id}/{what}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|id| *id != std::process::id() as i32)
        .filter(|id| wanted(&read(*id, "environ"), &read(*id, "cmdline")))
        .collect()
}

fn kill(process: i32) {
    let _ = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(process),
        nix::sys::signal::SIGKILL,
    );
}

#[tokio::test]
async fn steps_run_in_order_as_many_at_once_as_allowed_and_keep_their_logs() {
    let case = cluster(2, 600).await;
    let script = "echo begin >> \"$HEADWATER_HOME/order\"; sleep 0.3; echo end >> \"$HEADWATER_HOME/order\"; echo \"$TZ\"; echo oops >&2";
    let ids = case
        .add(&["one", "two", "three", "four"].map(|name| shell(name, script)))
        .await;
    case.until_states(&[const { StepState::Completed }; 4])
        .await;
    case.until_cluster(ClusterState::Waiting).await;
    let order = std::fs::read_to_string(case.local.home().root().join("order")).expect("read");
    let mut running = 0;
    let most = order.lines().map(|line| {
        running += if line == "begin" { 1 } else { -1 };
        running
    });
    assert_eq!(most.max(), Some(2), "{order}");
    assert_eq!(case.log(&ids[3], "stdout"), "UTC\n");
    assert_eq!(case.log(&ids[3], "stderr"), "oops\n");
    let names: Vec<String> = case.steps().await.into_iter().map(|s| s.name).collect();
    assert_eq!(names, ["one", "two", "three", "four"]);
    let listed = case
        .local
        .list_clusters(Timestamp(0))
        .await
        .expect("listed");
    assert_eq!(
        (listed.len(), listed[0].name.as_str()),
        (1, "headwater-a-c1")
    );
}

#[tokio::test]
async fn a_failing_step_is_one_failing_step() {
    let case = cluster(1, 600).await;
    let missing = StepRequest {
        name: "missing".to_owned(),
        arguments: vec!["/nowhere/program".to_owned()],
    };
    case.add(&[
        shell("fails", "exit 3"),
        shell("dies", "kill -9 $$"),
        missing,
        shell("works", "true"),
    ])
    .await;
    use StepState::{Completed, Failed};
    case.until_states(&[Failed, Failed, Failed, Completed])
        .await;
    let failures: Vec<Option<String>> = case.steps().await.into_iter().map(|s| s.failure).collect();
    assert_eq!(failures[0].as_deref(), Some("exit status 3"));
    assert_eq!(failures[1].as_deref(), Some("killed by SIGKILL"));
    assert!(
        failures[2]
            .as_ref()
            .is_some_and(|f| f.contains("`/nowhere/program` cannot be started"))
    );
    assert_eq!(failures[3], None);
}

#[tokio::test]
async fn cancelled_steps_end_whether_they_run_or_wait_and_others_go_on() {
    let case = cluster(1, 600).await;
    let ids = case
        .add(&[
            shell("runs", "setsid sleep 1000 & sleep 1000"),
            shell("waits", "true"),
            shell("goes on", "true"),
        ])
        .await;
    use StepState::{Cancelled, Completed, Pending, Running};
    case.until_states(&[Running, Pending, Pending]).await;
    case.local
        .cancel_steps(&case.id, &ids[..2])
        .await
        .expect("asked");
    case.until_states(&[Cancelled, Cancelled, Completed]).await;
    assert_eq!(case.living(), Vec::<i32>::new());
    case.local
        .cancel_steps(&case.id, &ids)
        .await
        .expect("asked again");
    assert_eq!(case.states().await, [Cancelled, Cancelled, Completed]);
}

#[tokio::test]
async fn an_idle_cluster_ends_by_itself_and_takes_no_more_steps() {
    let case = cluster(1, 1).await;
    case.add(&[shell("one", "true")]).await;
    case.until_states(&[StepState::Completed]).await;
    case.until_cluster(ClusterState::Terminated).await;
    let described = case.describe().await;
    assert_eq!(
        described.reason_code.as_deref(),
        Some("ALL_STEPS_COMPLETED")
    );
    let refused = case
        .local
        .add_steps(&case.id, &[shell("late", "true")])
        .await;
    assert!(
        matches!(refused, Err(PortError::Refused { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn terminating_ends_every_process_that_steps_started() {
    let case = cluster(1, 600).await;
    case.add(&[
        shell(
            "runs",
            "setsid sh -c 'sleep 1000 & sleep 1000' & sleep 1000",
        ),
        shell("waits", "true"),
    ])
    .await;
    until(
        async || case.living().len() >= 4,
        async || format!("{:?}", case.living()),
    )
    .await;
    case.local.terminate_cluster(&case.id).await.expect("asked");
    case.local
        .terminate_cluster(&case.id)
        .await
        .expect("asked again");
    case.until_cluster(ClusterState::Terminated).await;
    assert_eq!(
        case.states().await,
        [StepState::Interrupted, StepState::Cancelled]
    );
    assert_eq!(case.living(), Vec::<i32>::new());
    assert_eq!(
        case.describe().await.reason_code.as_deref(),
        Some("USER_REQUEST")
    );
}

#[tokio::test]
async fn a_killed_supervisor_takes_its_steps_with_it_and_the_cluster_is_seen_dead() {
    let case = cluster(1, 600).await;
    case.add(&[
        shell("runs", "setsid sleep 1000 & sleep 1000"),
        shell("waits", "true"),
    ])
    .await;
    until(
        async || case.living().len() >= 3,
        async || format!("{:?}", case.living()),
    )
    .await;
    for supervisor in processes(|_, command| command.contains(&case.id)) {
        kill(supervisor);
    }
    case.until_cluster(ClusterState::TerminatedWithErrors).await;
    assert_eq!(case.living(), Vec::<i32>::new());
    assert_eq!(
        case.states().await,
        [StepState::Failed, StepState::Cancelled]
    );
    assert_eq!(
        case.describe().await.reason_code.as_deref(),
        Some("INTERNAL_ERROR")
    );
}

#[tokio::test]
async fn a_cluster_takes_at_most_256_active_steps() {
    let case = cluster(1, 600).await;
    let steps = vec![shell("one", "sleep 1000"); 256];
    case.add(&steps).await;
    let refused = case.local.add_steps(&case.id, &steps[..1]).await;
    assert!(
        matches!(refused, Err(PortError::Refused { .. })),
        "{refused:?}"
    );
    let long = shell("long", &"x".repeat(10_241));
    assert!(case.local.add_steps(&case.id, &[long]).await.is_err());
    let unknown = case.local.add_steps("j-NONE", &steps[..1]).await;
    assert!(
        matches!(unknown, Err(PortError::Refused { .. })),
        "{unknown:?}"
    );
    assert_eq!(case.local.describe_cluster("j-NONE").await, Ok(None));
}
