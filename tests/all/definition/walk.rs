//! One story in two interpreters: `asl` in virtual time, and ministack with functions that are processes.
//!
//! Where ministack is known to do otherwise than Step Functions, and what is compared in its place:
//!
//! | ministack | Step Functions | compared |
//! |---|---|---|
//! | no wait and no delay of a retry takes time (`SFN_WAIT_SCALE=0`); MaxDelaySeconds and jitter are ignored | they take their seconds | nothing: the order of states does not depend on them |
//! | TimeoutSeconds of the machine is ignored | the execution ends as TIMED_OUT | nothing: `crates/asl/tests` has it |
//! | events of a task are `TaskScheduled`, `TaskFailed` | `LambdaFunctionScheduled`, `LambdaFunctionFailed` | the tries of a state, by their errors |
//! | a failed execution has an output | it has none | the output of executions that succeeded |
//! | a function's error is JSON with blanks | without | the JSON of a cause |
//! | the cause of `States.Timeout` is a sentence | there is none, or another one | only that it timed out |

use super::story::{Answer, Story};
use crate::programs::root;
use asl::{Action, Execution, Machine, Start};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// The bound of a scripted function: only a silent one reaches it.
const FUNCTION_TIMEOUT_SECONDS: u64 = 60;

/// A stay in a state.
#[derive(Debug, Clone, Default)]
pub struct Visit {
    pub state: String,
    /// Of a task: how each try ended, by error name; `None` is an answer.
    pub tries: Vec<Option<String>>,
    /// Where the engine tells it.
    pub input: Value,
}

/// What an interpreter made of a story.
#[derive(Debug, Clone)]
pub struct Walk {
    pub visits: Vec<Visit>,
    /// The function and the input of each call, in order.
    pub asked: Vec<Value>,
    /// Status, error, cause, output.
    pub end: Value,
}

impl Walk {
    /// The first thing that differs, in words.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let visits = pairs(&self.visits, &other.visits).map(|(at, ours, theirs)| {
            let (ours, theirs) = (ours.map(line), theirs.map(line));
            (format!("visit {}", at + 1), ours, theirs)
        });
        let asked = pairs(&self.asked, &other.asked).map(|(at, ours, theirs)| {
            let (ours, theirs) = (ours.map(Value::to_string), theirs.map(Value::to_string));
            (format!("call {}", at + 1), ours, theirs)
        });
        let ends = (Some(self.end.to_string()), Some(other.end.to_string()));
        let end = std::iter::once(("end".to_owned(), ends.0, ends.1));
        let (place, ours, theirs) = visits
            .chain(asked)
            .chain(end)
            .find(|(_, ours, theirs)| ours != theirs)?;
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "nothing".to_owned());
        Some(format!(
            "{place}: `asl` has {}, ministack has {}",
            or_none(ours),
            or_none(theirs)
        ))
    }
}

/// The items of both in order, as far as either goes.
fn pairs<'a, T>(
    ours: &'a [T],
    theirs: &'a [T],
) -> impl Iterator<Item = (usize, Option<&'a T>, Option<&'a T>)> {
    (0..ours.len().max(theirs.len())).map(|at| (at, ours.get(at), theirs.get(at)))
}

fn line(visit: &Visit) -> String {
    let tries = visit
        .tries
        .iter()
        .map(|error| error.as_deref().unwrap_or("an answer"));
    let words: Vec<&str> = std::iter::once(visit.state.as_str()).chain(tries).collect();
    words.join(", ")
}

/// The story in our interpreter.
pub fn ours(definition: &Value, story: &Story) -> Walk {
    let machine = Machine::load(definition).expect("the definition loads");
    let start = Start {
        name: story.name.clone(),
        input: story.input.clone(),
        ..Start::default()
    };
    let mut now = start.now;
    let mut execution = Execution::start(&machine, start).expect("the execution starts");
    let mut answers = story.answers.iter();
    let mut asked = Vec::new();
    let outcome = loop {
        match execution.action(&machine) {
            Action::RunTask(task) => {
                asked.push(call(&function(&task.resource), &task.input));
                let answer = answers.next().cloned();
                let answer = answer.unwrap_or_else(|| Answer::missing(story.answers.len()));
                now = answer.mock().give(&machine, &mut execution, &task, now);
            }
            Action::WaitUntil(moment) => {
                now = now.max(moment);
                execution.time_passed(&machine, now);
            }
            Action::Finished(outcome) => break outcome,
        }
    };
    let events = execution.drain_events();
    let told = events.iter().map(|event| {
        let kind = json!(event.kind).as_str().unwrap_or_default().to_owned();
        let state = event.state.clone().unwrap_or_default();
        (kind, state, Value::Null, event.error.clone())
    });
    Walk {
        visits: visits(told),
        asked,
        end: end(
            &json!(outcome.status),
            &json!(outcome.error),
            &json!(outcome.cause),
            outcome.output.unwrap_or_default(),
        ),
    }
}

/// `${ReadConfigFunctionArn}` is `ReadConfig`.
pub fn function(resource: &str) -> String {
    let name = resource.strip_prefix("${").unwrap_or(resource);
    name.strip_suffix("FunctionArn}").unwrap_or(name).to_owned()
}

fn call(function: &str, input: &Value) -> Value {
    json!({"function": function, "input": plain(input.clone())})
}

fn end(status: &Value, error: &Value, cause: &Value, output: Value) -> Value {
    let succeeded = *status == "SUCCEEDED";
    plain(json!({
        "status": status,
        "Error": error,
        "Cause": cause,
        "output": if succeeded { output } else { Value::Null },
    }))
}

/// The value with causes as JSON where they are JSON, and without the sentence of a time-out.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(mut fields) => {
            if fields
                .get("Error")
                .is_some_and(|error| error == "States.Timeout")
            {
                fields.remove("Cause");
            }
            let plain = fields.into_iter().map(|(name, value)| match &value {
                Value::String(text) if name == "Cause" => {
                    (name, serde_json::from_str(text).unwrap_or(value))
                }
                _ => (name, plain(value)),
            });
            Value::Object(plain.collect::<Map<_, _>>())
        }
        value => value,
    }
}

/// Events as type, state, input, error.
fn visits(events: impl Iterator<Item = (String, String, Value, Option<String>)>) -> Vec<Visit> {
    let mut visits: Vec<Visit> = Vec::new();
    for (kind, state, input, error) in events {
        if kind.ends_with("StateEntered") {
            visits.push(Visit {
                state,
                input,
                ..Visit::default()
            });
        } else if let Some(visit) = visits.last_mut() {
            match kind.as_str() {
                "TaskSucceeded" | "LambdaFunctionSucceeded" => visit.tries.push(None),
                "TaskFailed" | "LambdaFunctionFailed" | "LambdaFunctionTimedOut" => {
                    visit.tries.push(error);
                }
                _ => {}
            }
        }
    }
    visits
}

/// ministack, as long as this value lives.
pub struct Ministack {
    child: Child,
    answers: BufReader<ChildStdout>,
    errors: PathBuf,
}

impl Ministack {
    /// What it writes goes below `folder`.
    pub fn start(folder: &Path) -> Self {
        let python = root().join(".tools/ministack/bin/python");
        assert!(
            python.exists(),
            "ministack is not installed: {}\nhint: run scripts/setup",
            python.display()
        );
        let errors = folder.join("stderr");
        let log = std::fs::File::create(&errors).expect("the folder can be written");
        let mut child = Command::new(python)
            .arg("-B")
            .arg(root().join("tests/judges/interpreter.py"))
            .env("TMPDIR", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("python starts");
        let stdout = child.stdout.take().expect("its stdout is a pipe");
        Self {
            child,
            answers: BufReader::new(stdout),
            errors,
        }
    }

    /// What it tells of executions, by name.
    pub fn ask(&mut self, request: &Value) -> Map<String, Value> {
        let stdin = self.child.stdin.as_mut().expect("its stdin is a pipe");
        writeln!(stdin, "{request}").expect("it reads requests");
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        serde_json::from_str(&line).unwrap_or_else(|_| {
            let said = std::fs::read_to_string(&self.errors).unwrap_or_default();
            panic!("no answer from tests/judges/interpreter.py: {read:?}\n{said}")
        })
    }
}

impl Drop for Ministack {
    /// It ends when its stdin closes.
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Stories by the definition that they run under, in ministack, all at once.
pub fn theirs(batches: &[(&str, &Value, &[Story])]) -> BTreeMap<String, Walk> {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let mut machines = Map::new();
    for (machine, definition, stories) in batches {
        for story in *stories {
            let script: Vec<Value> = story.answers.iter().map(|answer| answer.script()).collect();
            let file = folder.path().join(format!("{}.answers", story.name));
            std::fs::write(file, json!(script).to_string()).expect("the folder can be written");
        }
        let executions = stories
            .iter()
            .map(|story| (story.name.clone(), story.input.clone()))
            .collect::<Map<_, _>>();
        let machine_json = json!({
            "definition": definition,
            "functions": scripted_functions(definition, folder.path()),
            "executions": executions,
        });
        machines.insert((*machine).to_owned(), machine_json);
    }
    let told = Ministack::start(folder.path()).ask(&json!({"machines": machines}));
    told.iter()
        .map(|(name, told)| (name.clone(), walk(told, asked(folder.path(), name))))
        .collect()
}

/// One scripted function for each resource.
fn scripted_functions(definition: &Value, scripts: &Path) -> Map<String, Value> {
    let states = definition["States"].as_object().expect("states");
    let resources = states
        .values()
        .filter_map(|state| state["Resource"].as_str());
    let scripted = json!({
        "bootstrap": root().join("tests/judges/scripted.py"),
        "timeout_seconds": FUNCTION_TIMEOUT_SECONDS,
        "environment": {"SCRIPTS": scripts},
    });
    resources
        .map(|resource| (function(resource), scripted.clone()))
        .collect()
}

/// The calls that scripted functions have had from an execution.
fn asked(folder: &Path, execution: &str) -> Vec<Value> {
    let lines = std::fs::read_to_string(folder.join(format!("{execution}.asked")));
    let lines = lines.unwrap_or_default();
    lines
        .lines()
        .map(|line| {
            let asked: Value = serde_json::from_str(line).expect("a line of JSON");
            let function = asked["function"].as_str().unwrap_or_default();
            let name = function.rsplit('-').next().unwrap_or_default();
            call(name, &asked["input"])
        })
        .collect()
}

/// What ministack tells of an execution.
pub fn walk(told: &Value, asked: Vec<Value>) -> Walk {
    let events = told["history"].as_array().expect("a history");
    let events = events.iter().map(|event| {
        let entered = &event["stateEnteredEventDetails"];
        let failed = &event["taskFailedEventDetails"]["error"];
        (
            text(&event["type"]),
            text(&entered["name"]),
            parsed(&entered["input"]),
            failed.as_str().map(str::to_owned),
        )
    });
    Walk {
        visits: visits(events),
        asked,
        end: end(
            &told["status"],
            &told["error"],
            &told["cause"],
            parsed(&told["output"]),
        ),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn parsed(value: &Value) -> Value {
    let text = value.as_str().unwrap_or("null");
    serde_json::from_str(text).expect("the engine gives JSON")
}
