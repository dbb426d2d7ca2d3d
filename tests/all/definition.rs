//! The definition under an interpreter that others wrote: the same way through its states, the same calls, the same end as in `asl`.

mod arms;
mod binaries;
mod story;
mod walk;

use crate::programs::root;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use story::Story;
use walk::Walk;

/// Seconds of a task that is left to time out: the others must have begun by then, on a busy machine too.
const SILENCE_SECONDS: u64 = 3;

fn definition() -> Value {
    let path = root().join("statemachines/pipeline.asl.json");
    let text = std::fs::read_to_string(path).expect("the definition is there");
    serde_json::from_str(&text).expect("the definition is JSON")
}

/// The same, with a first task that times out soon.
fn impatient() -> Value {
    let mut definition = definition();
    definition["States"]["ReadConfig"]["TimeoutSeconds"] = json!(SILENCE_SECONDS);
    definition
}

/// What ministack makes of all stories: it is asked once.
fn theirs() -> &'static BTreeMap<String, Walk> {
    static WALKS: OnceLock<BTreeMap<String, Walk>> = OnceLock::new();
    WALKS.get_or_init(|| {
        let (definition, impatient) = (definition(), impatient());
        let (stories, silence) = (story::stories(&definition), [story::silence()]);
        walk::theirs(&[
            ("impatient", &impatient, &silence),
            ("pipeline", &definition, &stories),
        ])
    })
}

/// How the story differs between this definition in `asl` and the real one in ministack.
fn difference(definition: &Value, story: &Story) -> Option<String> {
    let ours = walk::ours(definition, story);
    let (asked, answers) = (ours.asked.len(), story.answers.len());
    let difference = ours.difference(&theirs()[&story.name]);
    let difference = difference
        .or_else(|| (asked != answers).then(|| format!("{asked} calls, and {answers} answers")));
    difference.map(|difference| format!("{}: {difference}", story.name))
}

#[test]
fn both_interpreters_walk_every_story_alike() {
    let definition = definition();
    let stories = story::stories(&definition);
    let differences: Vec<String> = stories
        .iter()
        .filter_map(|story| difference(&definition, story))
        .chain(difference(&impatient(), &story::silence()))
        .collect();
    assert!(
        differences.is_empty(),
        "{} of {} stories differ\n{}",
        differences.len(),
        stories.len() + 1,
        differences.join("\n")
    );
}

#[test]
fn the_stories_take_all_of_the_definition() {
    let definition = definition();
    let taken: BTreeSet<String> = theirs()
        .values()
        .flat_map(|walk| arms::taken(&definition, walk))
        .collect();
    let all = arms::all(&definition);
    let left: Vec<&String> = all.difference(&taken).collect();
    assert!(left.is_empty(), "no story has: {left:#?}");
    println!("{} stories take all {} arms", theirs().len(), all.len());
}

/// A fault in the definition that only `asl` is given: its place, the value there, and how the report begins.
const FAULTS: &[(&str, &str, &str)] = &[
    (
        "/States/IsAdmitted/Choices/0/Next",
        r#""Finish""#,
        "all-tables-are-done: visit 5: `asl` has Finish, an answer, ministack has Discover, an answer",
    ),
    (
        "/States/IsDone/Default",
        r#""SubmitSteps""#,
        "all-tables-are-done: visit 17: `asl` has SubmitSteps, an answer, ministack has Finish, an answer",
    ),
    (
        "/States/WaitForTurn/Next",
        r#""Discover""#,
        "the-run-waits-for-its-turn: visit 6: `asl` has Discover, an answer, ministack has Admit, an answer",
    ),
    (
        "/States/Finish/Catch/0/Next",
        r#""Failed""#,
        "Finish-fails-by-Corrupt: visit 15: `asl` has Failed, ministack has Unfinished",
    ),
    (
        "/States/Admit/Catch/0/ResultPath",
        r#""$.fault""#,
        "a-process-dies: call 5: `asl` has {\"function\":\"Finish\"",
    ),
    (
        "/States/Discover/Parameters/execution.$",
        r#""$$.Execution.Id""#,
        "all-tables-are-done: call 3: `asl` has {\"function\":\"Discover\"",
    ),
    (
        "/States/Notify/Resource",
        r#""${FinishFunctionArn}""#,
        "all-tables-are-done: call 9: `asl` has {\"function\":\"Finish\"",
    ),
    (
        "/States/CheckStatus/Retry/0/MaxAttempts",
        "5",
        "CheckStatus-fails-by-Lambda.ServiceException: visit 12: `asl` has CheckStatus, Lambda.ServiceException",
    ),
    (
        "/States/SubmitSteps/Retry/1/ErrorEquals/0",
        r#""Lambda.Timeout""#,
        "all-recover-from-States.Timeout: visit 9: `asl` has SubmitSteps, States.Timeout, ministack has SubmitSteps, States.Timeout, an answer",
    ),
    (
        "/States/Partial/Error",
        r#""FAILED""#,
        "two-waves-and-a-second-cluster: end: `asl` has {\"Cause\":\"some tables failed; the notice names them\",\"Error\":\"FAILED\"",
    ),
];

#[test]
fn a_fault_on_one_side_is_reported_by_the_first_state_that_differs() {
    let stories = story::stories(&definition());
    let mut wrong = Vec::new();
    for (pointer, value, report) in FAULTS {
        let mut faulty = definition();
        *faulty.pointer_mut(pointer).expect("the place of the fault") =
            serde_json::from_str(value).expect("JSON");
        let found = stories.iter().find_map(|story| difference(&faulty, story));
        let found = found.unwrap_or_else(|| "nothing".to_owned());
        if !found.starts_with(report) {
            wrong.push(format!("{pointer}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_lambda_binaries_walk_as_in_the_simulation() {
    let differences = binaries::differences(&definition());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
