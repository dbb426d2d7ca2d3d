//! Properties that hold for every machine, every answer and every seed.

use asl::mock::Mock;
use asl::{Action, Event, EventKind, Execution, Machine, Moment, Outcome, Start};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A loop of a task and a wait, with every way on: retry, catch, time-out, choice.
fn machine(interval: u64, rate: f64, attempts: u32, max_delay: u64, jitter: &str) -> Machine {
    let definition = json!({
        "StartAt": "Work",
        "TimeoutSeconds": 100_000,
        "States": {
            "Work": {
                "Type": "Task", "Resource": "${Work}", "TimeoutSeconds": 30,
                "Parameters": {"run.$": "$$.Execution.Name", "state.$": "$"},
                "ResultPath": "$.result",
                "Retry": [
                    {"ErrorEquals": ["Busy"], "IntervalSeconds": interval, "BackoffRate": rate,
                     "MaxAttempts": attempts, "MaxDelaySeconds": interval + max_delay,
                     "JitterStrategy": jitter},
                    {"ErrorEquals": ["States.Timeout"], "MaxAttempts": 1}
                ],
                "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "IsLost"}],
                "Next": "IsDone"
            },
            "IsDone": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.result.done", "BooleanEquals": true, "Next": "Done"}],
                "Default": "Pause"
            },
            "Pause": {"Type": "Wait", "SecondsPath": "$.result.wait", "Next": "Work"},
            "IsLost": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.error.Error", "StringEquals": "Busy", "Next": "Pause2"}],
                "Default": "Lost"
            },
            "Pause2": {"Type": "Wait", "Seconds": 60, "Next": "Work"},
            "Lost": {"Type": "Fail", "ErrorPath": "$.error.Error"},
            "Done": {"Type": "Succeed"}
        }
    });
    Machine::load(&definition).expect("a definition that loads")
}

fn mocks() -> impl Strategy<Value = Vec<Mock>> {
    let answer = prop_oneof![
        3 => (0..90_u64).prop_map(|wait| json!({"return": {"done": false, "wait": wait}})),
        3 => Just(json!({"throw": {"error": "Busy"}})),
        1 => Just(json!({"throw": {"error": "Broken", "cause": "for good"}})),
        1 => Just(json!({"return": {"done": true}})),
    ];
    let mock = (answer, 0..40_u64).prop_map(|(mut answer, seconds)| {
        answer["after_seconds"] = seconds.into();
        serde_json::from_value(answer).expect("a mock")
    });
    proptest::collection::vec(mock, 1..30)
}

/// Runs to the end; `between` may replace the execution at every step.
fn run(
    machine: &Machine,
    seed: u64,
    mocks: &[Mock],
    between: impl Fn(Execution) -> Execution,
) -> (Outcome, Vec<Event>) {
    let start = Start {
        name: "run".to_owned(),
        input: json!({"table": "orders"}),
        seed,
        ..Start::default()
    };
    let mut now = Moment(0);
    let mut execution = Execution::start(machine, start).expect("a start");
    let mut events = Vec::new();
    let mut answers = mocks.iter();
    let last: Mock = serde_json::from_value(json!({"return": {"done": true}})).expect("a mock");
    loop {
        execution = between(execution);
        events.extend(execution.drain_events());
        match execution.action(machine) {
            Action::RunTask(task) => {
                let mock = answers.next().unwrap_or(&last);
                now = mock.give(machine, &mut execution, &task, now);
            }
            Action::WaitUntil(moment) => {
                now = moment;
                execution.time_passed(machine, now);
            }
            Action::Finished(outcome) => return (outcome, events),
        }
    }
}

fn restored(execution: Execution) -> Execution {
    let saved = serde_json::to_string(&execution).expect("it can be saved");
    serde_json::from_str(&saved).expect("it can be read back")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_execution_saved_and_read_back_at_every_step_goes_on_in_the_same_way(
        seed in any::<u64>(), mocks in mocks()
    ) {
        let machine = machine(2, 2.0, 3, 20, "FULL");
        prop_assert_eq!(
            run(&machine, seed, &mocks, |execution| execution),
            run(&machine, seed, &mocks, restored)
        );
    }

    #[test]
    fn delays_between_attempts_never_exceed_their_bound(
        seed in any::<u64>(), mocks in mocks(), interval in 1..50_u64, rate in 1.0..9.0_f64,
        attempts in 1..9_u32, beyond in 1..50_u64
    ) {
        let machine = machine(interval, rate, attempts, beyond, "FULL");
        let (_, events) = run(&machine, seed, &mocks, |execution| execution);
        let longest = i64::try_from(interval + beyond).expect("a small number") * 1000;
        for pair in events.windows(2) {
            if pair[0].kind == EventKind::LambdaFunctionFailed
                && pair[1].kind == EventKind::LambdaFunctionScheduled
            {
                prop_assert!(pair[1].at.0 - pair[0].at.0 <= longest);
            }
        }
    }

    #[test]
    fn histories_count_from_one_and_never_go_back_in_time(seed in any::<u64>(), mocks in mocks()) {
        let machine = machine(1, 2.0, 3, 9, "FULL");
        let (_, events) = run(&machine, seed, &mocks, |execution| execution);
        for (at, event) in events.iter().enumerate() {
            prop_assert_eq!(event.id, at as u64 + 1);
        }
        prop_assert!(events.is_sorted_by_key(|event| event.at));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in r#"[$.\[\]'"a?*0-9:,(){}\\ States.Format-]{0,40}"#) {
        let definition = json!({
            "StartAt": "A",
            "States": {"A": {
                "Type": "Pass", "InputPath": text, "ResultPath": text, "End": true,
                "Parameters": {"a.$": text, "b.$": format!("States.Format({text})")}
            }}
        });
        prop_assert!(Machine::load(&definition).is_err() || text.starts_with('$'));
    }
}

#[test]
fn the_same_seed_gives_the_same_history_and_another_seed_another() {
    let machine = machine(5, 2.0, 8, 100, "FULL");
    let busy: Mock = serde_json::from_value(json!({"throw": {"error": "Busy"}})).expect("a mock");
    let history = |seed| {
        run(&machine, seed, &vec![busy.clone(); 6], |execution| {
            execution
        })
        .1
    };
    assert_eq!(history(1), history(1));
    assert_ne!(history(1), history(2));
}

#[test]
fn an_answer_that_comes_too_late_is_refused_and_changes_nothing() {
    let machine = machine(1, 2.0, 3, 9, "NONE");
    let start = Start {
        name: "run".to_owned(),
        ..Start::default()
    };
    let mut execution = Execution::start(&machine, start).expect("a start");
    let Action::RunTask(first) = execution.action(&machine) else {
        panic!("a task is next")
    };
    execution.time_passed(&machine, Moment(30_000));
    execution.time_passed(&machine, Moment(31_000));
    let Action::RunTask(second) = execution.action(&machine) else {
        panic!("the task is tried again")
    };
    assert_eq!((first.attempt, second.attempt), (1, 2));
    let before = execution.clone();
    let now = Moment(32_000);
    assert!(
        execution
            .task_succeeded(&machine, first.token, Value::Null, now)
            .is_err()
    );
    assert!(
        execution
            .task_failed(&machine, first.token, "E", "", now)
            .is_err()
    );
    assert!(execution.task_heartbeat(first.token, now).is_err());
    assert_eq!(execution, before);
    execution.abort(None, Some("enough".to_owned()), now);
    assert!(
        execution
            .task_succeeded(&machine, second.token, Value::Null, now)
            .is_err()
    );
    assert!(matches!(execution.action(&machine), Action::Finished(_)));
}

#[test]
fn a_heartbeat_moves_its_deadline() {
    let definition = json!({
        "StartAt": "A",
        "States": {"A": {
            "Type": "Task", "Resource": "${A}", "TimeoutSeconds": 60, "HeartbeatSeconds": 10,
            "End": true
        }}
    });
    let machine = Machine::load(&definition).expect("a definition that loads");
    let start = Start {
        name: "run".to_owned(),
        ..Start::default()
    };
    let mut execution = Execution::start(&machine, start).expect("a start");
    let Action::RunTask(task) = execution.action(&machine) else {
        panic!("a task is next")
    };
    assert_eq!(task.deadline, Moment(10_000));
    execution
        .task_heartbeat(task.token, Moment(8_000))
        .expect("the task is under way");
    execution.time_passed(&machine, Moment(17_999));
    assert_eq!(execution.state(), Some("A"));
    execution.time_passed(&machine, Moment(18_000));
    let Action::Finished(outcome) = execution.action(&machine) else {
        panic!("it has failed")
    };
    assert_eq!(outcome.error.as_deref(), Some("States.HeartbeatTimeout"));
}
