//! The Lambdas as they are deployed: each program under a Runtime API, with moto as AWS, one event after another.

use crate::moto::{self, unique};
use crate::programs::{self, root};
use crate::runtime_api::{RuntimeApi, Said};
use crate::scene::runtime;
use aws::Aws;
use aws::lambda::{ENVIRONMENT_INVALID, PANICKED};
use aws::resources::{Resources, VARIABLES, needs};
use pipeline::run::StartInput;
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tasks::TASKS;
use tasks::error::TaskError;
use tasks::port::Objects;
use tasks::state::{State, TaskInput};

/// What is waited for has come by then, or never will.
const PATIENCE: Duration = Duration::from_secs(120);
/// The longest message of an error, and what else an answer has.
const ERROR_BYTES_MAX: usize = 40_000;
/// Stands in items and in the credentials, and must stand nowhere else.
const CANARY: &str = "canary-4f1e9b";

/// A Lambda: the program, the API that it asks for events, and all that it has said.
struct Function {
    task: String,
    process: Child,
    api: RuntimeApi,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    started: Duration,
    answers: String,
}

/// An answer, or the error of an event.
type Answer = Result<Value, Named>;

#[derive(Debug, Clone, PartialEq)]
struct Named {
    name: String,
    message: String,
}

/// What is left of a function when it has ended.
struct Ended {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Function {
    /// Starts a task's program as Lambda does: nothing in its environment but what Lambda and the template put there.
    fn start(task: &str, caller: &str, resources: Option<&Resources>) -> Self {
        let api = RuntimeApi::start(task);
        let mut command = Command::new(program(task));
        command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", api.address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", task)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{task}"))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "2026/01/31/[1]0")
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_ACCESS_KEY_ID", caller)
            .env("AWS_SECRET_ACCESS_KEY", CANARY)
            .env("AWS_SESSION_TOKEN", CANARY)
            .env("AWS_ENDPOINT_URL", moto::server().endpoint())
            // An operator may set these: they must not bring requests or traces into the log.
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in needs(task) {
            if let Some(resources) = resources {
                command.env(name, variable(resources, name));
            }
        }
        let begun = Instant::now();
        let mut process = command.spawn().expect("it starts");
        let stdout = process.stdout.take().map(ChildStdout::reading);
        let stderr = process.stderr.take().map(ChildStderr::reading);
        let mut function = Self {
            task: task.to_owned(),
            process,
            api,
            stdout,
            stderr,
            started: Duration::ZERO,
            answers: String::new(),
        };
        let said = function.listen();
        function.started = begun.elapsed();
        assert_eq!(said, Said::Next, "`{task}` does not ask for an event");
        function
    }

    fn listen(&mut self) -> Said {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.api.listen(Duration::from_millis(200)) {
                Some(Said::InitError { body }) => panic!(
                    "`{}` does not begin: {}",
                    self.task,
                    String::from_utf8_lossy(&body)
                ),
                Some(said) => return said,
                None => {}
            }
            let ended = self.process.try_wait().expect("it can be asked");
            assert_eq!(ended, None, "`{}` has ended", self.task);
        }
        panic!("`{}` says nothing", self.task);
    }

    /// The answer to an event. When it is there, the program asks for the next one.
    fn invoke(&mut self, event: &[u8]) -> Answer {
        let asked = self.api.send(event);
        let (answer, answered) = match self.listen() {
            Said::Response { request_id, body } => {
                self.keep(&body);
                (Ok(json_of(&body)), request_id)
            }
            Said::Error {
                request_id, body, ..
            } => {
                self.keep(&body);
                assert!(body.len() < ERROR_BYTES_MAX, "{} bytes", body.len());
                let error = json_of(&body);
                let text = |name: &str| error[name].as_str().expect("a text").to_owned();
                let named = Named {
                    name: text("errorType"),
                    message: text("errorMessage"),
                };
                (Err(named), request_id)
            }
            other => panic!("`{}` says {other:?}", self.task),
        };
        assert_eq!(answered, asked, "the answer to another event");
        assert_eq!(self.listen(), Said::Next, "`{}` goes on", self.task);
        answer
    }

    fn keep(&mut self, body: &[u8]) {
        self.answers.push_str(&String::from_utf8_lossy(body));
    }

    fn fails(&mut self, event: &[u8]) -> Named {
        let task = self.task.clone();
        self.invoke(event)
            .expect_err(&format!("`{task}` must answer with an error"))
    }

    /// The most memory that it had, in KiB.
    fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("it lives");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak.and_then(|peak| peak.split_whitespace().next()?.parse().ok())
            .expect("a number of KiB")
    }

    /// Ends it as Lambda does, and looks at all that it ever said: a line is a JSON object, and holds no secret.
    fn stop(mut self) -> Ended {
        let id = self.process.id().to_string();
        let kill = Command::new("kill").args(["-TERM", &id]).status();
        assert!(kill.expect("kill starts").success());
        let status = self.process.wait().expect("it was started");
        let read = |thread: Option<JoinHandle<String>>| {
            thread.expect("it is read").join().expect("it was read")
        };
        let ended = Ended {
            status,
            stdout: read(self.stdout.take()),
            stderr: read(self.stderr.take()),
        };
        let task = &self.task;
        assert!(ended.status.success(), "`{task}`: {}", ended.status);
        for line in ended.stdout.lines().chain(ended.stderr.lines()) {
            let line: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{task}: {error}: {line}"));
            assert!(line.is_object(), "{task}: {line}");
        }
        for said in [&ended.stdout, &ended.stderr, &self.answers] {
            assert!(!said.contains(CANARY), "`{task}` tells a secret: {said}");
        }
        ended
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // Of a failed test; one that was stopped has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A pipe that is read to its end beside the test, so that it never fills.
trait Reading: Read + Send + Sized + 'static {
    fn reading(mut self) -> JoinHandle<String> {
        std::thread::spawn(move || {
            let mut text = String::new();
            self.read_to_string(&mut text).expect("text");
            text
        })
    }
}

impl<T: Read + Send + 'static> Reading for T {}

/// A Lambda's program: beside this test, or where the variable says, which measures others.
fn program(task: &str) -> PathBuf {
    match std::env::var_os("HEADWATER_LAMBDAS") {
        Some(folder) => Path::new(&folder).join(task),
        None => programs::program(task),
    }
}

/// A resource as the template writes it into a variable.
fn variable(resources: &Resources, name: &str) -> String {
    match name {
        "HEADWATER_STACK" => resources.stack.clone(),
        "HEADWATER_CONFIG_TABLE" => resources.config_table.clone(),
        "HEADWATER_LEDGER_TABLE" => resources.ledger_table.clone(),
        "HEADWATER_STATE_MACHINE" => resources.state_machine.clone(),
        "HEADWATER_TOPIC" => resources.topic.clone(),
        "HEADWATER_ARTIFACTS" => resources.artifacts.clone(),
        "HEADWATER_ZONES" => resources.zones.to_string(),
        "HEADWATER_CLUSTER" => resources.cluster.to_string(),
        "HEADWATER_SUBNETS" => resources.subnets.join(","),
        other => panic!("`{other}` is none of {VARIABLES:?}"),
    }
}

fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|error| {
        panic!(
            "an answer that is not JSON: {error}: {}",
            String::from_utf8_lossy(body)
        )
    })
}

fn event_file(name: &str) -> Vec<u8> {
    let path = root().join("events").join(format!("{name}.json"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
}

fn event(task: &str) -> Value {
    json_of(&event_file(task))
}

/// A stack with a state machine, which runs nothing.
async fn with_machine(caller: &str) -> Aws {
    let aws = moto::stack_for(&unique("lambda"), caller).await;
    let config = moto::server().config("FOUNDATION").await;
    let machine = &aws.resources().state_machine;
    let (_, name) = machine.rsplit_once(':').expect("an ARN");
    let made = aws_sdk_sfn::Client::new(&config)
        .create_state_machine()
        .name(name)
        .role_arn("arn:aws:iam::123456789012:role/machine")
        .definition(json!({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}).to_string())
        .send()
        .await
        .expect("a state machine");
    assert_eq!(made.state_machine_arn(), machine);
    aws
}

/// A stack with the example's configuration, in which one table has an attribute that is unknown, and may be a secret.
async fn configured(caller: &str) -> Aws {
    let aws = with_machine(caller).await;
    let items = std::fs::read(root().join("examples/tpcc/config.json")).expect("the example");
    let mut items: Vec<Value> = serde_json::from_slice(&items).expect("items");
    for item in &mut items {
        match item["config"].as_str() {
            Some("step::system::public.history") => item["password"] = json!(CANARY),
            Some("step::system::public.stock") => item["notes"] = json!(CANARY),
            _ => {}
        }
    }
    aws.replace_config("tpcc", &items).await.expect("imported");
    let sum = "0a".repeat(32);
    let artifact =
        |name: &str| json!({"uri": format!("s3://artifacts/{sum}/{name}"), "sha256": sum});
    let artifacts = json!({
        "bootstrap": artifact("bootstrap.sh"),
        "worker_aarch64": artifact("headwater-worker"),
        "worker_x86_64": artifact("headwater-worker"),
        "jdbc_load": artifact("jdbc_load.py"),
        "jdbc_driver": artifact("postgresql.jar"),
    });
    let uri = format!("{}/artifacts.json", aws.resources().artifacts);
    aws.put(&uri, artifacts.to_string().as_bytes())
        .await
        .expect("put");
    aws
}

/// For each task its own thread: each waits for a process most of the time.
fn for_each_task(story: impl Fn(&'static str) + Sync) {
    std::thread::scope(|scope| {
        let story = &story;
        let threads = TASKS.map(|task| (task, scope.spawn(move || story(task))));
        for (task, thread) in threads {
            assert!(thread.join().is_ok(), "`{task}`, as told above");
        }
    });
}

#[test]
fn every_event_is_what_it_claims_to_be() {
    let folder = root().join("events");
    let names = |folder: &Path| -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .expect("a folder of events")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.is_file())
            .map(|path| {
                path.file_name()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    };
    let mut expected: Vec<String> = TASKS.map(|task| format!("{task}.json")).to_vec();
    expected.sort();
    assert_eq!(
        names(&folder),
        expected,
        "one event for each task, and no other"
    );
    let mut runs = Vec::new();
    for task in TASKS.into_iter().filter(|task| *task != "sweep") {
        let input: TaskInput = serde_json::from_value(event(task)).expect(task);
        runs.push(input.run_id().expect(task));
        let mut state = input.state.clone();
        if task == "read-config" {
            input.start().expect("a start input");
            continue;
        }
        let error = state.as_object_mut().expect("an object").remove("error");
        assert_eq!(error.is_some(), input.caught().is_some(), "{task}");
        let parsed: State = serde_json::from_value(state.clone()).expect(task);
        let written = serde_json::to_value(&parsed).expect("JSON");
        assert_eq!(written, state, "`{task}` has a field that no state has");
    }
    runs.dedup();
    assert_eq!(runs.len(), 1, "all events are of one run: {runs:?}");
    assert_eq!(event("sweep")["source"], "aws.states");
    let starts = names(&folder.join("runs"));
    assert!(starts.len() >= 5, "{starts:?}");
    for name in starts {
        let file = format!("runs/{}", name.trim_end_matches(".json"));
        let _: StartInput = serde_json::from_slice(&event_file(&file)).expect(&name);
    }
}

/// Whether another attempt may go better; `None` for a name that no program gives.
fn may_pass(name: &str) -> Option<bool> {
    match name {
        "Transient" | "Conflict" | "ConfigMoving" => Some(true),
        "BadInput" | "Refused" | "Corrupt" | PANICKED | ENVIRONMENT_INVALID => Some(false),
        _ => None,
    }
}

#[test]
fn the_definition_retries_the_errors_that_may_pass_and_catches_all() {
    let errors = [
        TaskError::Transient,
        TaskError::Conflict,
        TaskError::BadInput,
        TaskError::Refused,
        TaskError::ConfigMoving,
        TaskError::Corrupt,
    ];
    let mut names = errors.map(|error| error(String::new()).name()).to_vec();
    names.extend([PANICKED, ENVIRONMENT_INVALID]);
    let definition = std::fs::read(root().join("statemachines/pipeline.asl.json"));
    let definition = json_of(&definition.expect("the definition"));
    let states = definition["States"].as_object().expect("states");
    let tasks = states.iter().filter(|(_, state)| state["Type"] == "Task");
    assert_eq!(tasks.clone().count(), TASKS.len() - 1, "all but the sweep");
    for (name, state) in tasks {
        let retried: Vec<&str> = state["Retry"]
            .as_array()
            .expect("retries")
            .iter()
            .flat_map(|retry| retry["ErrorEquals"].as_array().expect("names"))
            .map(|error| error.as_str().expect("a name"))
            .collect();
        for error in &names {
            let passes = may_pass(error).expect("a name of ours");
            assert_eq!(retried.contains(error), passes, "{name}: {error}");
        }
        for error in &retried {
            // A name with a dot is Lambda's, or Step Functions' own.
            assert!(
                error.contains('.') || names.contains(error),
                "{name}: {error}"
            );
        }
        assert_eq!(
            state["Catch"][0]["ErrorEquals"],
            json!(["States.ALL"]),
            "{name}"
        );
    }
}

#[test]
fn ten_programs_take_a_run_from_its_trigger_to_its_end() {
    let aws = runtime().block_on(configured("FOUNDATION"));
    let steps = [
        ("read-config", Some("PLANNED")),
        ("admit", Some("ADMITTED")),
        ("discover", Some("WORK")),
        ("build-cluster", Some("READY")),
        ("submit-steps", Some("OBSERVE")),
        ("check-status", Some("OBSERVE")),
        ("finish", Some("TERMINATING")),
        ("finish", Some("FINISHED")),
        ("notify", Some("FINISHED")),
        ("next-pipeline", Some("FINISHED")),
        ("sweep", None),
    ];
    println!("task, ms to the first event, ms to the first answer, peak KiB");
    let mut functions: Vec<(&str, Function)> = Vec::new();
    let mut failed = None;
    for (task, decision) in steps {
        if functions.last().is_none_or(|(last, _)| *last != task) {
            let caller = task.to_uppercase().replace('-', "");
            let function = Function::start(task, &caller, Some(aws.resources()));
            functions.push((task, function));
        }
        let (_, function) = functions.last_mut().expect("it was started");
        let begun = Instant::now();
        let answer = function.invoke(&event_file(task)).expect(task);
        println!(
            "{task}, {}, {}, {}",
            function.started.as_millis(),
            begun.elapsed().as_millis(),
            function.peak_memory()
        );
        assert_eq!(
            answer.get("decision").and_then(Value::as_str),
            decision,
            "{task}: {answer}"
        );
        if decision == Some("FINISHED") {
            failed = answer["outcome"].as_str().map(str::to_owned);
        }
    }
    assert_eq!(
        failed.as_deref(),
        Some("FAILED"),
        "`finish` was told of a fault"
    );
    let run_id = event("admit")["state"]["run_id"].clone();
    for (task, function) in functions {
        let said = function.stop().stdout;
        let lines: Vec<Value> = said.lines().map(|line| json_of(line.as_bytes())).collect();
        let done = lines
            .iter()
            .find(|line| line["message"] == "done")
            .expect("a line");
        assert_eq!(done["span"]["task"], task);
        assert!(done["span"]["request_id"].is_string());
        if task != "sweep" {
            assert_eq!(done["span"]["run_id"], run_id, "{task}");
            assert_eq!(done["span"]["identifier"], "tpcc");
        }
        let numbers: Vec<&Value> = lines
            .iter()
            .filter(|line| line.get("_aws").is_some())
            .collect();
        let told = |name: &str| numbers.iter().any(|line| line.get(name).is_some());
        match task {
            "finish" => {
                assert!(told("RunsFailed") && told("ClusterMinutes"), "{said}");
                let table = lines.iter().find(|line| line["table"] == "public.history");
                let table = table.expect("the faulty table is named");
                assert_eq!(table["error"], "ConfigInvalid");
                assert_eq!(table["span"]["run_id"], run_id);
            }
            "sweep" => assert!(told("Sweeps") && told("ConfirmedSubscriptions"), "{said}"),
            _ => assert!(numbers.is_empty(), "{task} tells no numbers: {said}"),
        }
    }
}

#[test]
fn what_is_no_event_of_a_task_is_named_and_the_next_one_is_served() {
    let aws = runtime().block_on(with_machine("FOUNDATION"));
    for_each_task(|task| {
        let mut function =
            Function::start(task, &format!("MALFORMED-{task}"), Some(aws.resources()));
        for event in ["", "{", "{\"execution\": \"e\", \"state\":", "\u{0}"] {
            let error = function.fails(event.as_bytes());
            assert_eq!(error.name, "BadInput", "{task}: {event}");
            assert!(error.message.contains(task), "{}", error.message);
        }
        assert_eq!(function.fails(b"\xff\xfe{}").name, "BadInput");
        if task == "sweep" {
            // Whatever wakes it, it looks for itself.
            let swept = function.invoke(b"[1]").expect("swept");
            assert!(swept["finished"].is_array(), "{swept}");
        } else {
            refuse_what_is_no_input(&mut function);
        }
        function.stop();
    });
}

fn refuse_what_is_no_input(function: &mut Function) {
    let large = "x".repeat(400 * 1024);
    let start = json!({"identifier": "tpcc", "pipeline": "jdbc_load", "trigger": {"kind": "manual", "id": "k"}});
    let unknown = {
        let mut start = start.clone();
        start["surprise"] = json!(1);
        start
    };
    for event in [
        json!([]),
        json!("text"),
        json!(null),
        json!({}),
        json!({"execution": 7, "state": {}}),
        json!({"execution": "e", "state": []}),
        json!({"execution": "e", "state": {}}),
        json!({"execution": "e", "state": {"run_id": 7}}),
        json!({"execution": "e", "state": unknown}),
        json!({"execution": "e", "state": {"trigger": large}}),
        json!({"execution": {&large: 1}, "state": {}}),
    ] {
        let error = function.fails(event.to_string().as_bytes());
        let shown: String = event.to_string().chars().take(100).collect();
        assert_eq!(error.name, "BadInput", "{}: {shown}", function.task);
    }
    if function.task != "read-config" {
        let stranger = json!({"execution": "e", "state": {"run_id": "nobody-0123456789ab"}});
        let error = function.fails(stranger.to_string().as_bytes());
        assert_eq!(error.name, "BadInput");
        assert!(
            error
                .message
                .contains("there is no run `nobody-0123456789ab`")
        );
        // DynamoDB refuses so long a key; moto finds nothing under it.
        let stranger = json!({"execution": "e", "state": {"run_id": large}});
        let error = function.fails(stranger.to_string().as_bytes());
        assert!(
            ["BadInput", "Refused"].contains(&error.name.as_str()),
            "{}",
            error.name
        );
    }
}

#[test]
fn an_environment_that_lacks_something_is_named_as_an_answer() {
    for_each_task(|task| {
        let mut function = Function::start(task, "NOBODY", None);
        for _ in 0..2 {
            let error = function.fails(&event_file(task));
            assert_eq!(error.name, "EnvironmentInvalid");
            for name in needs(task) {
                assert!(
                    error.message.contains(&format!("`{name}` is not set")),
                    "{name}"
                );
            }
            assert_eq!(
                error.message.lines().count(),
                needs(task).len(),
                "{}",
                error.message
            );
        }
        function.stop();
    });
}

#[test]
fn a_service_that_will_not_or_not_now_is_told_apart() {
    let aws = runtime().block_on(moto::stack_for(&unique("lambda"), "FOUNDATION"));
    let mut lost = aws.resources().clone();
    lost.ledger_table = "no-such-table".to_owned();
    for_each_task(|task| {
        let mut function = Function::start(task, &format!("LOST-{task}"), Some(&lost));
        let error = function.fails(&event_file(task));
        assert_eq!(error.name, "Refused", "{task}: {}", error.message);
        assert!(
            error.message.contains("ResourceNotFoundException"),
            "{}",
            error.message
        );
        function.stop();
        // So often the SDK tries.
        for (effect, name) in [("denied", "Refused"), ("throttled", "Transient")] {
            let caller = format!("{effect}-{task}");
            let fault =
                json!({"caller": caller, "service": "dynamodb", "effect": effect, "times": 5});
            runtime().block_on(moto::server().post("/headwater/faults", &fault));
            let mut function = Function::start(task, &caller, Some(aws.resources()));
            let error = function.fails(&event_file(task));
            assert_eq!(error.name, name, "{task}, {effect}: {}", error.message);
            function.stop();
        }
    });
}

#[test]
fn a_plan_that_is_not_what_was_frozen_is_corrupt_to_every_task_and_its_run_ends() {
    let aws = runtime().block_on(async {
        let aws = configured("FOUNDATION").await;
        let input: TaskInput = serde_json::from_value(event("read-config")).expect("an input");
        let state = tasks::read_config::run(&aws, &input)
            .await
            .expect("planned");
        let run = tasks::record::get_run(&aws, &state.run_id)
            .await
            .expect("recorded");
        let plan = run.value.plan.expect("a plan");
        aws.put(&plan.uri, b"{}").await.expect("put");
        aws
    });
    for task in ["admit", "discover", "build-cluster"] {
        let mut function = Function::start(task, &format!("CORRUPT-{task}"), Some(aws.resources()));
        let error = function.fails(&event_file(task));
        assert_eq!(error.name, "Corrupt", "{task}: {}", error.message);
        assert!(
            error.message.contains("does not have the sha256"),
            "{}",
            error.message
        );
        function.stop();
    }
    let mut function = Function::start("finish", "CORRUPT-finish", Some(aws.resources()));
    let answer = function.invoke(&event_file("finish")).expect("finished");
    assert_eq!(
        (&answer["decision"], &answer["outcome"]),
        (&json!("FINISHED"), &json!("FAILED"))
    );
    function.stop();
}

#[test]
fn a_topic_that_refuses_leaves_the_mail_for_the_sweep() {
    let caller = unique("TOPIC");
    let refusing = json!({"caller": caller, "service": "sns", "effect": "denied", "times": 1});
    let aws = runtime().block_on(async {
        let aws = configured("FOUNDATION").await;
        let input: TaskInput = serde_json::from_value(event("read-config")).expect("an input");
        tasks::read_config::run(&aws, &input)
            .await
            .expect("planned");
        let input: TaskInput = serde_json::from_value(event("finish")).expect("an input");
        tasks::finish::run(&aws, 1, &input).await.expect("finished");
        moto::server().post("/headwater/faults", &refusing).await;
        aws
    });
    let mut function = Function::start("notify", &caller, Some(aws.resources()));
    let error = function.fails(&event_file("notify"));
    assert_eq!(error.name, "Refused", "{}", error.message);
    assert!(
        error.message.starts_with("SNS refused"),
        "{}",
        error.message
    );
    function
        .invoke(&event_file("notify"))
        .expect("it is still to be sent");
    function.stop();
    let sent = moto::server().requests_of(&caller);
    let published = sent
        .iter()
        .filter(|request| request["operation"] == "Publish");
    assert_eq!(published.count(), 2);
}

#[test]
fn a_panic_is_an_error_with_a_name_and_the_next_event_is_served() {
    let mut function = Function::start("examples/panics", "NOBODY", None);
    for _ in 0..2 {
        let error = function.fails(b"\"loud\"");
        assert_eq!(error.name, "Panicked");
        assert_eq!(function.invoke(b"\"quiet\""), Ok(json!("served")));
    }
    let said = function.stop();
    assert_eq!(said.stderr, "", "no bare trace");
    assert!(
        said.stdout.contains("panics.rs"),
        "the log says where: {}",
        said.stdout
    );
}
