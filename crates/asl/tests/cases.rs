//! Runs every case of `cases/*.json`: a definition, an input and mocks, and what must come out.
//!
//! `expect` names only what the case is about. A line of its `history` is the seconds since the start, the event, and the state.

use asl::mock::{self, Mocks, Run};
use asl::{Event, Machine, Moment, Start};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    definition: Value,
    #[serde(default)]
    input: Value,
    #[serde(default)]
    mocks: Mocks,
    expect: Map<String, Value>,
}

const START: Moment = Moment(1_767_225_600_000);

fn run(case: &Case) -> Result<Run, String> {
    let machine = Machine::load(&case.definition).map_err(|errors| {
        let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })?;
    let start = Start {
        name: "run".to_owned(),
        id: "execution-id".to_owned(),
        machine_name: "machine".to_owned(),
        machine_id: "machine-id".to_owned(),
        input: case.input.clone(),
        now: START,
        seed: 1,
    };
    mock::run(&machine, start, &case.mocks).map_err(|error| error.to_string())
}

fn line(event: &Event) -> String {
    let seconds = (event.at.0 - START.0) as f64 / 1000.0;
    let state = event.state.as_deref().unwrap_or_default();
    format!("{seconds} {:?} {state}", event.kind)
        .trim_end()
        .to_owned()
}

fn found(case: &Case) -> Map<String, Value> {
    let run = match run(case) {
        Ok(run) => run,
        Err(refused) => return Map::from_iter([("refused".to_owned(), json!(refused))]),
    };
    let history: Vec<_> = run.history.iter().map(line).collect();
    Map::from_iter([
        ("status".to_owned(), json!(run.outcome.status)),
        ("output".to_owned(), json!(run.outcome.output)),
        ("error".to_owned(), json!(run.outcome.error)),
        ("cause".to_owned(), json!(run.outcome.cause)),
        ("seconds".to_owned(), json!(seconds(&run))),
        ("history".to_owned(), json!(history)),
    ])
}

fn seconds(run: &Run) -> f64 {
    let last = run.history.last().map_or(START, |event| event.at);
    (last.0 - START.0) as f64 / 1000.0
}

#[test]
fn every_case_comes_out_as_expected() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the folder of cases") {
        let path = entry.expect("a case file").path();
        let text = std::fs::read_to_string(&path).expect("a readable case file");
        let cases: BTreeMap<String, Case> = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (name, case) in cases {
            count += 1;
            let found = found(&case);
            for (field, expected) in &case.expect {
                let actual = found.get(field).unwrap_or(&Value::Null);
                let matches = match field.as_str() {
                    "refused" => contains(actual, expected),
                    _ => same(actual, expected),
                };
                if !matches {
                    wrong.push(format!(
                        "{name}: {field}\n  expected {expected}\n  found    {actual}"
                    ));
                }
            }
        }
    }
    assert!(count > 80, "only {count} cases were found");
    assert!(
        wrong.is_empty(),
        "{} wrong of {count}\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn contains(actual: &Value, expected: &Value) -> bool {
    let texts = actual.as_str().zip(expected.as_str());
    texts.is_some_and(|(actual, expected)| actual.contains(expected))
}

/// `2` and `2.0` are the same number of seconds.
fn same(actual: &Value, expected: &Value) -> bool {
    match (actual.as_f64(), expected.as_f64()) {
        (Some(actual), Some(expected)) => actual == expected,
        _ => actual == expected,
    }
}
