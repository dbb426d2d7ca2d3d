//! One state of a definition.

use super::fields::{Fields, describe};
use super::{LoadError, rules, tasks};
use crate::machine::{Fail, Filter, Pass, State, StateKind, Until, Wait};
use crate::moment::Moment;
use serde_json::Value;

const TYPES: &str = "one of `Task`, `Choice`, `Wait`, `Pass`, `Succeed`, `Fail`";

pub(super) fn state(path: &str, definition: &Value, errors: &mut Vec<LoadError>) -> Option<State> {
    let mut fields = Fields::new(path, definition, errors)?;
    let kind = fields.required("Type")?;
    fields.comment();
    fields.query_language();
    if kind == "Fail" {
        let kind = fail(&mut fields);
        fields.finish();
        return Some(State {
            input: Filter::Whole,
            output: Filter::Whole,
            kind: StateKind::Fail(kind),
        });
    }
    let (input, output) = (fields.filter("InputPath"), fields.filter("OutputPath"));
    let kind = match kind.as_str() {
        Some("Task") => tasks::task(&mut fields).map(|task| StateKind::Task(Box::new(task))),
        Some("Choice") => rules::choice(&mut fields).map(StateKind::Choice),
        Some("Wait") => wait(&mut fields).map(StateKind::Wait),
        Some("Pass") => pass(&mut fields).map(StateKind::Pass),
        Some("Succeed") => Some(StateKind::Succeed),
        Some(name @ ("Map" | "Parallel")) => {
            let hint = Some("only states that run one after another are implemented");
            fields.report(
                "Type",
                format!("`{name}`, which is not implemented"),
                TYPES,
                hint,
            );
            return None;
        }
        _ => {
            fields.report("Type", describe(kind), TYPES, None);
            return None;
        }
    };
    fields.finish();
    Some(State {
        input,
        output,
        kind: kind?,
    })
}

fn fail(fields: &mut Fields<'_, '_>) -> Fail {
    Fail {
        error: fields.text_or_path("Error", "ErrorPath"),
        cause: fields.text_or_path("Cause", "CausePath"),
    }
}

fn pass(fields: &mut Fields<'_, '_>) -> Option<Pass> {
    let value = fields.take("Result").cloned();
    let parameters = fields.template("Parameters");
    let result = fields.result_path();
    let next = fields.transition();
    Some(Pass {
        value,
        parameters,
        result: result?,
        next: next?,
    })
}

fn wait(fields: &mut Fields<'_, '_>) -> Option<Wait> {
    const NAMES: [&str; 4] = ["Seconds", "SecondsPath", "Timestamp", "TimestampPath"];
    if !NAMES.iter().any(|name| fields.has(name)) {
        let path = fields.path.clone();
        fields.errors.push(LoadError {
            path,
            found: "none of them".to_owned(),
            expected: format!("one of {}", super::fields::list(&NAMES)),
            hint: None,
        });
    }
    fields.at_most_one(&NAMES);
    let seconds = fields
        .seconds_or_path("Seconds", "SecondsPath", 0)
        .map(Until::Seconds);
    let moment = timestamp(fields).map(Until::Moment);
    let moment_at = fields.reference("TimestampPath").map(Until::MomentAt);
    let next = fields.transition();
    Some(Wait {
        until: seconds.or(moment).or(moment_at)?,
        next: next?,
    })
}

fn timestamp(fields: &mut Fields<'_, '_>) -> Option<Moment> {
    let value = fields.take("Timestamp")?;
    let moment = value.as_str().and_then(Moment::parse);
    if moment.is_none() {
        fields.wrong(
            "Timestamp",
            value,
            "a timestamp such as `2026-01-31T12:00:00Z`",
        );
    }
    moment
}
