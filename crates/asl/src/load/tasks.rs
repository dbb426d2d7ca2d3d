//! A Task with its retriers and catchers.

use super::fields::Fields;
use crate::fault::ALL;
use crate::limits::{RETRY_DELAY_SECONDS_MAX, SECONDS_MAX};
use crate::machine::{Catcher, Resource, ResourceKind, Seconds, Task};
use crate::retry::{Jitter, Retrier};
use serde_json::Value;

pub(super) fn task(fields: &mut Fields<'_, '_>) -> Option<Task> {
    let resource = resource(fields);
    let parameters = fields.template("Parameters");
    let result_selector = fields.template("ResultSelector");
    let result = fields.result_path();
    let timeout = fields.seconds_or_path("TimeoutSeconds", "TimeoutSecondsPath", 1);
    let heartbeat = fields.seconds_or_path("HeartbeatSeconds", "HeartbeatSecondsPath", 1);
    check_heartbeat(fields, timeout.as_ref(), heartbeat.as_ref());
    let retry = each(fields, "Retry", retrier);
    let catch = each(fields, "Catch", catcher);
    let next = fields.transition();
    Some(Task {
        resource: resource?,
        parameters,
        result_selector,
        result: result?,
        timeout,
        heartbeat,
        retry,
        catch,
        next: next?,
    })
}

fn resource(fields: &mut Fields<'_, '_>) -> Option<Resource> {
    let name = fields.required_string("Resource")?;
    let mut parts = name.splitn(6, ':');
    let kind = match (parts.next(), parts.next(), parts.next()) {
        (Some(first), ..) if first.starts_with("${") => ResourceKind::LambdaFunction,
        (Some("arn"), Some(_), Some("lambda")) => ResourceKind::LambdaFunction,
        (Some("arn"), Some(_), Some("states")) if parts.next() == Some("") => {
            return integration(fields, name);
        }
        _ => {
            let expected =
                "the ARN of a Lambda function, an `arn:aws:states:::` integration, or a `${…}`";
            fields.report("Resource", format!("`{name}`"), expected, None);
            return None;
        }
    };
    Some(Resource { name, kind })
}

fn integration(fields: &mut Fields<'_, '_>, name: String) -> Option<Resource> {
    if name.ends_with(".waitForTaskToken") {
        let hint = Some("callbacks with a task token are not implemented");
        fields.report("Resource", format!("`{name}`"), "another integration", hint);
        return None;
    }
    let kind = if name.ends_with(".sync") || name.ends_with(".sync:2") {
        ResourceKind::IntegrationJob
    } else {
        ResourceKind::Integration
    };
    Some(Resource { name, kind })
}

fn check_heartbeat(
    fields: &mut Fields<'_, '_>,
    timeout: Option<&Seconds>,
    heartbeat: Option<&Seconds>,
) {
    if let (Some(Seconds::Fixed(timeout)), Some(Seconds::Fixed(heartbeat))) = (timeout, heartbeat)
        && heartbeat >= timeout
    {
        let expected = format!("less than the {timeout} of `TimeoutSeconds`");
        fields.report(
            "HeartbeatSeconds",
            format!("`{heartbeat}`"),
            &expected,
            None,
        );
    }
}

/// Reads each object of an array field; `is_last` tells the reader its place.
fn each<T>(
    fields: &mut Fields<'_, '_>,
    name: &'static str,
    read: fn(&mut Fields<'_, '_>, Place) -> Option<T>,
) -> Vec<T> {
    let Some(value) = fields.take(name) else {
        return Vec::new();
    };
    let Some(items) = value.as_array() else {
        fields.wrong(name, value, "an array");
        return Vec::new();
    };
    let path = fields.at(name);
    let mut found = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let place = if at + 1 == items.len() {
            Place::Last
        } else {
            Place::Earlier
        };
        let Some(mut inner) = Fields::new(&format!("{path}[{at}]"), item, fields.errors) else {
            continue;
        };
        inner.comment();
        found.extend(read(&mut inner, place));
        inner.finish();
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Last,
    Earlier,
}

fn error_names(fields: &mut Fields<'_, '_>, place: Place) -> Option<Vec<String>> {
    const NAMES: &str = "an array of at least one error name";
    let value = fields.required("ErrorEquals")?;
    let names: Option<Vec<String>> =
        value
            .as_array()
            .filter(|names| !names.is_empty())
            .and_then(|names| {
                names
                    .iter()
                    .map(|n| n.as_str().map(str::to_owned))
                    .collect()
            });
    let Some(names) = names else {
        fields.wrong("ErrorEquals", value, NAMES);
        return None;
    };
    if names.iter().any(|name| name == ALL) && (names.len() > 1 || place != Place::Last) {
        let expected = "`States.ALL` alone, in the last entry";
        let found = format!("`{}`", names.join("`, `"));
        fields.report("ErrorEquals", found, expected, None);
    }
    unknown_reserved(fields, &names);
    Some(names)
}

/// Names that begin with `States.` are reserved: a misspelt one would never match.
fn unknown_reserved(fields: &mut Fields<'_, '_>, names: &[String]) {
    const RESERVED: [&str; 16] = [
        ALL,
        "States.TaskFailed",
        "States.Timeout",
        "States.HeartbeatTimeout",
        "States.Permissions",
        "States.Runtime",
        "States.DataLimitExceeded",
        "States.ResultPathMatchFailure",
        "States.ParameterPathFailure",
        "States.BranchFailed",
        "States.NoChoiceMatched",
        "States.IntrinsicFailure",
        "States.ExceedToleratedFailureThreshold",
        "States.ItemReaderFailed",
        "States.ResultWriterFailed",
        "States.QueryEvaluationError",
    ];
    for name in names {
        if name.starts_with("States.") && !RESERVED.contains(&name.as_str()) {
            let expected = "an error name that Step Functions defines, or one of the task's own";
            fields.report("ErrorEquals", format!("`{name}`"), expected, None);
        }
    }
}

fn retrier(fields: &mut Fields<'_, '_>, place: Place) -> Option<Retrier> {
    let errors = error_names(fields, place);
    let interval_seconds = fields
        .seconds("IntervalSeconds", 1)
        .unwrap_or(Retrier::INTERVAL_SECONDS_DEFAULT);
    let max_attempts = fields
        .whole_number("MaxAttempts", 0, SECONDS_MAX)
        .and_then(|attempts| u32::try_from(attempts).ok())
        .unwrap_or(Retrier::MAX_ATTEMPTS_DEFAULT);
    let backoff_rate = backoff_rate(fields);
    let max_delay_seconds = max_delay(fields, interval_seconds);
    let jitter = jitter(fields);
    Some(Retrier {
        errors: errors?,
        interval_seconds,
        max_attempts,
        backoff_rate,
        max_delay_seconds,
        jitter,
    })
}

fn backoff_rate(fields: &mut Fields<'_, '_>) -> f64 {
    let Some(value) = fields.take("BackoffRate") else {
        return Retrier::BACKOFF_RATE_DEFAULT;
    };
    let rate = value.as_f64().filter(|rate| *rate >= 1.0);
    if rate.is_none() {
        fields.wrong("BackoffRate", value, "a number of at least 1.0");
    }
    rate.unwrap_or(Retrier::BACKOFF_RATE_DEFAULT)
}

fn max_delay(fields: &mut Fields<'_, '_>, interval_seconds: u64) -> Option<u64> {
    let longest = fields.whole_number("MaxDelaySeconds", 1, RETRY_DELAY_SECONDS_MAX - 1)?;
    if longest <= interval_seconds {
        let expected = format!("more than the {interval_seconds} of `IntervalSeconds`");
        fields.report("MaxDelaySeconds", format!("`{longest}`"), &expected, None);
    }
    Some(longest)
}

fn jitter(fields: &mut Fields<'_, '_>) -> Jitter {
    match fields.take("JitterStrategy") {
        None => Jitter::None,
        Some(Value::String(name)) if name == "NONE" => Jitter::None,
        Some(Value::String(name)) if name == "FULL" => Jitter::Full,
        Some(other) => {
            fields.wrong("JitterStrategy", other, "`FULL` or `NONE`");
            Jitter::None
        }
    }
}

fn catcher(fields: &mut Fields<'_, '_>, place: Place) -> Option<Catcher> {
    let errors = error_names(fields, place);
    let result = fields.result_path();
    let next = fields.required_string("Next");
    Some(Catcher {
        errors: errors?,
        result: result?,
        next: next?,
    })
}
