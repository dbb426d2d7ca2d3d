//! The service's limits: size of a payload, length of a history, time.

use asl::mock::{self, Answer, Mock, Mocks, Run, RunError};
use asl::{EventKind, HISTORY_EVENTS_MAX, Machine, PAYLOAD_BYTES_MAX, Start, StartError, Status};
use serde_json::{Value, json};

fn run(definition: &Value, input: Value, result: Value) -> Result<Run, RunError> {
    let machine = Machine::load(definition).expect("a definition that loads");
    let answer = Mock {
        answer: Answer::Return(result),
        after_seconds: 0,
    };
    let mocks = Mocks([("A".to_owned(), vec![answer])].into());
    let start = Start {
        name: "run".to_owned(),
        input,
        ..Start::default()
    };
    mock::run(&machine, start, &mocks)
}

/// A JSON text of so many bytes, quotes included.
fn text(bytes: usize) -> Value {
    "x".repeat(bytes - 2).into()
}

fn task(parameters: Value) -> Value {
    json!({
        "StartAt": "A",
        "States": {
            "A": {
                "Type": "Task", "Resource": "${A}", "Parameters": parameters,
                "Retry": [{"ErrorEquals": ["States.ALL"]}],
                "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "B"}],
                "Next": "B"
            },
            "B": {"Type": "Succeed"}
        }
    })
}

#[test]
fn a_result_may_be_exactly_as_big_as_the_limit() {
    let run = run(&task(json!({})), json!({}), text(PAYLOAD_BYTES_MAX)).expect("a run");
    assert_eq!(run.outcome.status, Status::Succeeded);
}

#[test]
fn a_bigger_result_ends_the_execution_past_retry_and_catch() {
    let run = run(&task(json!({})), json!({}), text(PAYLOAD_BYTES_MAX + 1)).expect("a run");
    assert_eq!(run.outcome.status, Status::Failed);
    assert_eq!(
        run.outcome.error.as_deref(),
        Some("States.DataLimitExceeded")
    );
    let kinds: Vec<_> = run.history.iter().map(|event| event.kind).collect();
    let end = [
        EventKind::LambdaFunctionSucceeded,
        EventKind::ExecutionFailed,
    ];
    assert!(kinds.ends_with(&end), "{kinds:?}");
}

#[test]
fn a_task_is_not_given_a_bigger_input() {
    let parameters = json!({"once.$": "$", "twice.$": "$"});
    let run = run(&task(parameters), text(200_000), json!(1)).expect("a run");
    assert_eq!(
        run.outcome.error.as_deref(),
        Some("States.DataLimitExceeded")
    );
    let begun = |kind| kind == EventKind::LambdaFunctionScheduled;
    assert!(!run.history.iter().any(|event| begun(event.kind)));
}

#[test]
fn a_bigger_input_starts_nothing() {
    let refused = run(&task(json!({})), text(PAYLOAD_BYTES_MAX + 1), json!(1));
    assert_eq!(refused, Err(RunError::Start(StartError::Input)));
}

#[test]
fn a_history_ends_with_its_event_number_25_000() {
    let definition = json!({
        "StartAt": "A",
        "States": {"A": {"Type": "Task", "Resource": "${A}", "Next": "A"}}
    });
    let run = run(&definition, json!({}), json!({})).expect("a run");
    let last = run.history.last().expect("an event");
    assert_eq!(run.history.len() as u64, HISTORY_EVENTS_MAX);
    assert_eq!(
        (last.id, last.kind),
        (HISTORY_EVENTS_MAX, EventKind::ExecutionFailed)
    );
}

#[test]
fn names_of_executions_are_those_that_the_service_takes() {
    let machine = Machine::load(&task(json!({}))).expect("a definition that loads");
    let start = |name: &str| {
        let name = name.to_owned();
        asl::Execution::start(
            &machine,
            Start {
                name,
                ..Start::default()
            },
        )
        .is_ok()
    };
    assert!(start("jdbc_load-0a1b"));
    assert!(start(&"a".repeat(80)));
    for name in ["", "a b", "a:b", "a[0]", &"a".repeat(81)] {
        assert!(!start(name), "{name}");
    }
}
