//! Reading definitions: all mistakes at once, each with its place.

use asl::Machine;
use serde_json::json;

#[test]
fn all_mistakes_are_reported_at_once_with_their_places() {
    let definition = json!({
        "StartAt": "Nowhere",
        "States": {
            "odd name": {"Type": "Pass", "InputPath": "$..a", "End": true},
            "Work": {
                "Type": "Task", "Resource": "${Work}", "TimeoutSecond": 1, "Next": "Lost",
                "Retry": [{"ErrorEquals": ["States.ALL"], "MaxAttempt": 1}]
            },
            "Each": {"Type": "Map", "End": true}
        }
    });
    let errors = Machine::load(&definition).expect_err("a definition with mistakes");
    let mut places: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
    places.sort_unstable();
    let expected = [
        "$.StartAt",
        "$.States.Each.Type",
        "$.States.Work",
        "$.States.Work.Retry[0].MaxAttempt",
        "$.States.Work.TimeoutSecond",
        "$.States['odd name'].InputPath",
    ];
    assert_eq!(places, expected);
}

#[test]
fn a_field_that_is_given_twice_is_refused() {
    let twice = r#"{"StartAt": "A", "States": {
        "A": {"Type": "Succeed"}, "A": {"Type": "Fail"}
    }}"#;
    let errors = Machine::parse(twice).expect_err("a repeated state");
    assert!(
        errors[0].to_string().contains("`A` is given twice"),
        "{}",
        errors[0]
    );
    let errors = Machine::parse("{").expect_err("half a document");
    assert!(errors[0].found.contains("EOF"), "{}", errors[0]);
}
