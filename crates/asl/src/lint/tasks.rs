//! Rules for one Task.

use super::{Finding, Rule};
use crate::fault::{ALL, DATA_LIMIT_EXCEEDED, Fault, RUNTIME};
use crate::machine::{ResourceKind, Task};

/// More attempts than this hide a fault instead of bridging it.
const RETRY_ATTEMPTS_MAX: u32 = 20;

/// What the Lambda service itself throws now and then; the function may have run.
const TRANSIENT_ERRORS: [&str; 4] = [
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
];

pub(super) fn check(name: &str, task: &Task, findings: &mut Vec<Finding>) {
    let mut report = |rule, message: String, hint| {
        findings.push(Finding {
            state: Some(name.to_owned()),
            rule,
            message,
            hint,
        });
    };
    if task.timeout.is_none() {
        let hint = "without it a lost answer holds the execution for up to three years";
        report(
            Rule::TaskTimeout,
            "a Task without TimeoutSeconds".to_owned(),
            hint,
        );
    }
    if task.retry.is_empty() {
        let hint = "at least the transient errors of the service must be retried";
        report(Rule::TaskRetry, "a Task without Retry".to_owned(), hint);
    } else if task.resource.kind == ResourceKind::LambdaFunction {
        for error in not_retried(task) {
            let hint = "the service throws it now and then, whatever the function does";
            report(
                Rule::TransientErrors,
                format!("`{error}` is not retried"),
                hint,
            );
        }
    }
    if !task.catch.iter().any(|catcher| names(&catcher.errors, ALL)) {
        let hint = "end the Catch with `States.ALL`, with a ResultPath that keeps the input";
        report(
            Rule::TaskCatch,
            "a Task that does not catch everything".to_owned(),
            hint,
        );
    }
    for (at, retrier) in task.retry.iter().enumerate() {
        if retrier.max_attempts > RETRY_ATTEMPTS_MAX || retrier.max_delay_seconds.is_none() {
            let message = format!("Retry[{at}] has no near bound");
            let hint = "give it MaxAttempts of at most 20, and MaxDelaySeconds";
            report(Rule::RetryBound, message, hint);
        }
    }
    let named = task
        .retry
        .iter()
        .map(|retrier| &retrier.errors)
        .chain(task.catch.iter().map(|catcher| &catcher.errors));
    for errors in named {
        if let Some(error) = errors
            .iter()
            .find(|e| [RUNTIME, DATA_LIMIT_EXCEEDED].contains(&e.as_str()))
        {
            let hint = "this error ends the execution past every Retry and Catch: prevent it";
            report(Rule::NeverMatches, format!("`{error}` is named"), hint);
        }
    }
}

fn not_retried(task: &Task) -> impl Iterator<Item = &'static str> {
    TRANSIENT_ERRORS.into_iter().filter(|error| {
        let fault = Fault::new(error, "");
        let first = task.retry.iter().find(|retrier| retrier.covers(&fault));
        first.is_none_or(|retrier| retrier.max_attempts == 0)
    })
}

fn names(errors: &[String], name: &str) -> bool {
    errors.iter().any(|error| error == name)
}
