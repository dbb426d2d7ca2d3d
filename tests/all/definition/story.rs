//! Stories: what the tasks of one execution answer, in the order in which they are asked.
//!
//! A story is a line of words. A word of `Decision` is the state that a task gives, with the outcome after a `/`; `!Name` is an error; `!exit`
//! kills the process; `~` is no answer, ever; what begins with `{` is given as it is. `*n` after a word repeats it.

use asl::mock::{Answer as Mocked, Mock};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tasks::state::{STATE_SCHEMA_VERSION, State};

/// Longer than any task may take.
const FOREVER_SECONDS: u64 = 1_000_000;

/// What ministack says of a process that died, in place of an answer.
const DIED: (&str, &str) = (
    "Runtime.ExitError",
    "Runtime exited before returning a response",
);

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Returns(Value),
    /// An error name and its cause: the Lambda service's JSON.
    Fails(String, String),
    Dies,
    Silent,
}

#[derive(Debug, Clone)]
pub struct Story {
    /// Also the execution's name.
    pub name: String,
    /// The start input of its execution.
    pub input: Value,
    pub answers: Vec<Answer>,
}

/// Every choice, every wait, every end.
const TOLD: &[(&str, &str)] = &[
    (
        "all-tables-are-done",
        "PLANNED ADMITTED WORK READY OBSERVE OBSERVE CLOSE FINISHED/SUCCEEDED*3",
    ),
    ("the-trigger-came-twice", "DUPLICATE"),
    ("the-configuration-is-bad", "CLOSE FINISHED/FAILED*3"),
    (
        "the-run-waits-for-its-turn",
        "PLANNED QUEUED QUEUED ADMITTED WORK READY OBSERVE CLOSE FINISHED/SUCCEEDED*3",
    ),
    (
        "the-run-is-not-admitted",
        "PLANNED CLOSE FINISHED/SKIPPED*3",
    ),
    (
        "there-is-nothing-to-do",
        "PLANNED ADMITTED CLOSE FINISHED/SUCCEEDED*3",
    ),
    (
        "the-cluster-is-in-doubt",
        "PLANNED ADMITTED WORK WAIT WAIT READY OBSERVE CLOSE FINISHED/SUCCEEDED*3",
    ),
    (
        "no-cluster-comes",
        "PLANNED ADMITTED WORK CLOSE FINISHED/FAILED*3",
    ),
    (
        "the-run-is-cancelled",
        "PLANNED ADMITTED WORK READY CLOSE FINISHED/ABORTED*3",
    ),
    (
        "two-waves-and-a-second-cluster",
        "PLANNED ADMITTED WORK READY OBSERVE SUBMIT OBSERVE OBSERVE RELAUNCH READY OBSERVE CLOSE TERMINATING*2 FINISHED/PARTIAL*3",
    ),
    ("the-run-cannot-be-finished", "CLOSE CLOSE"),
    ("the-outcome-is-null", "CLOSE FINISHED*3"),
    (
        "the-outcome-is-absent",
        r#"CLOSE FINISHED/FAILED*2 {"schema_version":1}"#,
    ),
    (
        "the-mail-is-refused",
        "CLOSE FINISHED/SUCCEEDED !Refused FINISHED/SUCCEEDED",
    ),
    (
        "the-next-run-is-refused",
        "CLOSE FINISHED/SUCCEEDED*2 !Refused",
    ),
    ("a-process-dies", "PLANNED !exit*3 FINISHED/FAILED*3"),
    (
        "each-retrier-counts-for-itself",
        "!Transient*3 !States.Timeout !Conflict*3 !States.Timeout PLANNED CLOSE FINISHED/SKIPPED*3",
    ),
    (
        "one-retrier-is-used-up-beside-another",
        "!Transient*5 !States.Timeout*2 !Conflict !ConfigMoving FINISHED/FAILED*3",
    ),
    (
        "each-visit-counts-anew",
        "PLANNED !Transient*6 QUEUED !Conflict*6 QUEUED !Transient*6 ADMITTED CLOSE FINISHED/SUCCEEDED*3",
    ),
];

/// A run with work, task by task: the way on which generated stories are built.
const WAY: [(&str, &str); 9] = [
    ("ReadConfig", "PLANNED"),
    ("Admit", "ADMITTED"),
    ("Discover", "WORK"),
    ("BuildCluster", "READY"),
    ("SubmitSteps", "OBSERVE"),
    ("CheckStatus", "CLOSE"),
    ("Finish", "FINISHED/SUCCEEDED"),
    ("Notify", "FINISHED/SUCCEEDED"),
    ("NextPipeline", "FINISHED/SUCCEEDED"),
];

/// A first task that never answers, until its retries are used up.
pub fn silence() -> Story {
    Story::told("a-task-is-silent", "~*3 FINISHED/FAILED*3")
}

/// The stories that are told, and for each task and each error name of its retriers: it recovers, gives up, and does not try again.
pub fn stories(definition: &Value) -> Vec<Story> {
    let told = TOLD.iter().map(|(name, words)| Story::told(name, words));
    told.chain(recoveries(definition))
        .chain(failures(definition))
        .collect()
}

fn recoveries(definition: &Value) -> Vec<Story> {
    let names: BTreeSet<&str> = WAY
        .iter()
        .flat_map(|(task, _)| retriers(definition, task))
        .flat_map(|retrier| retrier.names)
        .collect();
    let recovers = |error: &str| {
        let words: Vec<String> = WAY
            .iter()
            .map(|(_, word)| format!("!{error} {word}"))
            .collect();
        Story::told(&format!("all-recover-from-{error}"), &words.join(" "))
    };
    names.into_iter().map(recovers).collect()
}

fn failures(definition: &Value) -> Vec<Story> {
    let mut stories = Vec::new();
    for (at, (task, _)) in WAY.iter().enumerate() {
        let before: Vec<&str> = WAY[..at].iter().map(|(_, word)| *word).collect();
        let after = after_catch(definition, task);
        let mut fails = |error: &str, times: u64| {
            let words = format!("{} !{error}*{times} {after}", before.join(" "));
            stories.push(Story::told(&format!("{task}-fails-by-{error}"), &words));
        };
        fails("Corrupt", 1);
        for retrier in retriers(definition, task) {
            fails(retrier.names[0], retrier.attempts + 1);
        }
    }
    stories
}

/// What the tasks answer from where a task's Catch leads.
fn after_catch(definition: &Value, task: &str) -> String {
    let target = &definition["States"][task]["Catch"][0]["Next"];
    let at = WAY.iter().position(|(name, _)| *target == *name);
    let words = at.map_or(&[][..], |at| &WAY[at..]);
    let words: Vec<&str> = words.iter().map(|_| "FINISHED/FAILED").collect();
    words.join(" ")
}

/// One entry of a task's `Retry`.
pub struct Retrier<'a> {
    pub names: Vec<&'a str>,
    pub attempts: u64,
}

pub fn retriers<'a>(definition: &'a Value, task: &str) -> Vec<Retrier<'a>> {
    let retry = definition["States"][task]["Retry"].as_array();
    retry
        .into_iter()
        .flatten()
        .map(|retrier| Retrier {
            names: retrier["ErrorEquals"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect(),
            attempts: retrier["MaxAttempts"].as_u64().unwrap_or(3),
        })
        .collect()
}

impl Story {
    fn told(name: &str, words: &str) -> Self {
        let answers = words.split_whitespace().flat_map(|word| {
            let (word, times) = match word.rsplit_once('*') {
                Some((word, times)) => (word, times.parse().expect("a number after `*`")),
                None => (word, 1),
            };
            std::iter::repeat_n(Answer::of(word), times)
        });
        Self {
            name: name.to_owned(),
            input: json!({"identifier": "shop", "pipeline": "jdbc_load", "trigger": {"kind": "manual", "id": name}}),
            answers: answers.collect(),
        }
    }
}

impl Answer {
    fn of(word: &str) -> Self {
        match word {
            "~" => Self::Silent,
            "!exit" => Self::Dies,
            word if word.starts_with('{') => {
                Self::Returns(serde_json::from_str(word).expect("JSON"))
            }
            word => match word.strip_prefix('!') {
                Some(error) => Self::fails(error, "as the story has it"),
                None => Self::Returns(state(word)),
            },
        }
    }

    fn fails(error: &str, message: &str) -> Self {
        let cause = json!({"errorType": error, "errorMessage": message});
        Self::Fails(error.to_owned(), cause.to_string())
    }

    /// What the scripted function says when it is asked more often than the story answers.
    pub fn missing(answers: usize) -> Self {
        Self::fails(
            "NoAnswer",
            &format!("the story ends after {answers} answers"),
        )
    }

    /// As the scripted function reads it.
    pub fn script(&self) -> Value {
        match self {
            Self::Returns(value) => json!({"return": value}),
            Self::Fails(_, cause) => {
                json!({"error": serde_json::from_str::<Value>(cause).expect("JSON")})
            }
            Self::Dies => json!({"exit": 1}),
            Self::Silent => json!({"silence": true}),
        }
    }

    /// As our interpreter is told it.
    pub fn mock(&self) -> Mock {
        let (answer, after_seconds) = match self {
            Self::Returns(value) => (Mocked::Return(value.clone()), 0),
            Self::Fails(error, cause) => (throw(error, cause), 0),
            Self::Dies => return Self::fails(DIED.0, DIED.1).mock(),
            Self::Silent => (Mocked::Return(Value::Null), FOREVER_SECONDS),
        };
        Mock {
            answer,
            after_seconds,
        }
    }
}

fn throw(error: &str, cause: &str) -> Mocked {
    Mocked::Throw {
        error: error.to_owned(),
        cause: cause.to_owned(),
    }
}

/// The state that a task gives: `FINISHED/PARTIAL` is a decision and an outcome.
fn state(word: &str) -> Value {
    let (decision, outcome) = match word.split_once('/') {
        Some((decision, outcome)) => (decision, Some(outcome)),
        None => (word, None),
    };
    let of_word = "a word of `Decision`, with a word of `Outcome` after `/`";
    let state = State {
        schema_version: STATE_SCHEMA_VERSION,
        run_id: "shop-jdbc-load-1".to_owned(),
        identifier: "shop".to_owned(),
        pipeline: "jdbc_load".to_owned(),
        decision: serde_json::from_value(json!(decision)).expect(of_word),
        wait_seconds: 30,
        outcome: outcome.map(|word| serde_json::from_value(json!(word)).expect(of_word)),
    };
    serde_json::to_value(state).expect("a state is JSON")
}
