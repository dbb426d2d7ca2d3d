//! Mistakes and warnings as commands show them.

use pipeline::config::Checked;
use pipeline::problem::Problem;
use serde_json::{Value, json};

/// Each finding with its place and hint, a blank line after each.
pub fn text(checked: &Checked) -> String {
    let one = |kind: &str, problem: &Problem| match problem.identifier.as_str() {
        "" => format!("{kind}: {problem}\n\n"),
        identifier => format!("{kind}: {identifier} {problem}\n\n"),
    };
    let errors = checked.problems.iter().map(|problem| one("error", problem));
    let warnings = checked.warnings.iter();
    errors
        .chain(warnings.map(|problem| one("warning", problem)))
        .collect()
}

pub fn json(problems: &[Problem]) -> Value {
    let one = |problem: &Problem| {
        let text = problem.to_string();
        let mut value = json!(problem);
        value["message"] = json!(text.lines().next());
        value
    };
    problems.iter().map(one).collect()
}
