//! The lint: a sound definition has no findings, and each rule has a definition that breaks it.

use asl::{LintOptions, Machine, lint, loops};
use serde_json::{Value, json};

fn sound() -> Value {
    json!({
        "StartAt": "Work",
        "TimeoutSeconds": 3600,
        "States": {
            "Work": {
                "Type": "Task",
                "Resource": "${Work}",
                "TimeoutSeconds": 60,
                "Retry": [{
                    "ErrorEquals": [
                        "Lambda.ServiceException", "Lambda.AWSLambdaException",
                        "Lambda.SdkClientException", "Lambda.TooManyRequestsException"
                    ],
                    "MaxAttempts": 4,
                    "MaxDelaySeconds": 30
                }],
                "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Finish"}],
                "Next": "IsDone"
            },
            "IsDone": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.done", "BooleanEquals": false, "Next": "Pause"}],
                "Default": "Finish"
            },
            "Pause": {"Type": "Wait", "Seconds": 30, "Next": "Work"},
            "Finish": {"Type": "Pass", "Next": "Done"},
            "Done": {"Type": "Succeed"}
        }
    })
}

fn through_finish() -> LintOptions {
    LintOptions {
        through: Some("Finish".to_owned()),
        may_end_before: vec![],
    }
}

fn findings(definition: &Value, options: &LintOptions) -> Vec<(String, &'static str)> {
    let machine = Machine::load(definition).expect("a definition that loads");
    lint(&machine, options)
        .into_iter()
        .map(|finding| (finding.state.unwrap_or_default(), finding.rule.name()))
        .collect()
}

#[test]
fn a_sound_definition_has_no_findings() {
    assert_eq!(findings(&sound(), &through_finish()), []);
}

#[test]
fn each_rule_finds_what_breaks_it() {
    // A JSON pointer, what is put there (nothing: it is removed), and the one finding.
    let remove = Value::Null;
    let cases = [
        (
            "/States/IsDone/Default",
            remove.clone(),
            "IsDone",
            "choice-default",
        ),
        (
            "/States/Work/TimeoutSeconds",
            remove.clone(),
            "Work",
            "task-timeout",
        ),
        ("/States/Work/Retry", remove.clone(), "Work", "task-retry"),
        (
            "/States/Work/Retry/0/MaxDelaySeconds",
            remove.clone(),
            "Work",
            "retry-bound",
        ),
        (
            "/States/Work/Retry/0/MaxAttempts",
            json!(21),
            "Work",
            "retry-bound",
        ),
        (
            "/States/Work/Retry/0/ErrorEquals/3",
            json!("Mine"),
            "Work",
            "transient-errors",
        ),
        (
            "/States/Work/Catch/0/ErrorEquals/0",
            json!("Mine"),
            "Work",
            "task-catch",
        ),
        (
            "/States/Lost",
            json!({"Type": "Succeed"}),
            "Lost",
            "unreachable",
        ),
        ("/TimeoutSeconds", remove, "", "machine-timeout"),
        (
            "/States/Pause",
            json!({"Type": "Pass", "Next": "Work"}),
            "IsDone",
            "loop-wait",
        ),
        (
            "/States/Work/Catch/0/Next",
            json!("Done"),
            "Done",
            "through",
        ),
    ];
    for (pointer, value, state, rule) in cases {
        let mut definition = sound();
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        match definition.pointer_mut(parent).expect("the parent") {
            Value::Object(fields) if value.is_null() => {
                fields.remove(field);
            }
            Value::Object(fields) => {
                fields.insert(field.to_owned(), value);
            }
            items => items[field.parse::<usize>().expect("an index")] = value,
        }
        let expected = [(state.to_owned(), rule)];
        assert_eq!(
            findings(&definition, &through_finish()),
            expected,
            "{pointer}"
        );
    }
}

#[test]
fn a_loop_without_a_way_out_is_endless() {
    let definition = json!({
        "StartAt": "A", "TimeoutSeconds": 60,
        "States": {
            "A": {"Type": "Wait", "Seconds": 1, "Next": "B"},
            "B": {"Type": "Pass", "Next": "A"}
        }
    });
    let expected = [("A".to_owned(), "endless"), ("B".to_owned(), "endless")];
    assert_eq!(findings(&definition, &LintOptions::default()), expected);
}

#[test]
fn an_end_before_the_state_may_be_allowed_by_name() {
    let mut definition = sound();
    definition["States"]["IsDone"]["Default"] = json!("Done");
    let mut options = through_finish();
    assert_eq!(
        findings(&definition, &options),
        [("Done".to_owned(), "through")]
    );
    options.may_end_before = vec!["Done".to_owned()];
    assert_eq!(findings(&definition, &options), []);
}

#[test]
fn a_round_of_wait_task_and_choice_costs_nine_events() {
    let machine = Machine::load(&sound()).expect("a definition that loads");
    let loops = loops(&machine);
    assert_eq!(loops.len(), 1);
    assert_eq!(loops[0].states, ["IsDone", "Pause", "Work"]);
    assert_eq!((loops[0].events, loops[0].events_max), (9, 21));
    assert_eq!(loops[0].rounds_max(1000), 2666);
}
