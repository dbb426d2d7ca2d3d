//! What the binaries of all Lambdas share: one stack's ports made once, then event after event, each with one answer or one
//! named error.

use crate::resources::{EnvironmentError, Resources, needs};
use crate::{Aws, log};
use futures::FutureExt;
use lambda_runtime::tower::util::MapRequestLayer;
use lambda_runtime::{Diagnostic, LambdaEvent, LambdaInvocation, Runtime, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use tasks::Settings;
use tasks::error::TaskError;
use tasks::state::TaskInput;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{Instrument, Span, field};

/// Seconds between the first looks at a queue, a cluster and its steps.
const POLL_SECONDS: i64 = 30;
/// Of an error's message: `Cause` takes 32,768 characters, and a faulty input may be quoted in it.
const MESSAGE_CHARACTERS_MAX: usize = 8_000;
/// Of a name that comes from an input, in a log line.
const NAME_CHARACTERS_MAX: usize = 200;

/// The errors of a Lambda beside those of its task (`TaskError`), by their names.
pub const ENVIRONMENT_INVALID: &str = "EnvironmentInvalid";
pub const PANICKED: &str = "Panicked";

/// Serves events until the environment ends: the whole `main` of a task's binary. An environment that is not as `NEEDS`
/// says is the answer to each event, not a crash: a state machine can catch only what was answered.
pub fn serve<I: DeserializeOwned, O: Serialize>(
    task: &'static str,
    run: impl AsyncFn(&Aws, &Settings, I) -> Result<O, TaskError>,
) -> ExitCode {
    log::init();
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(lambda_runtime::Error::from)
        .and_then(|runtime| runtime.block_on(poll(task, run)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(task, "the Lambda runtime's API failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn poll<I: DeserializeOwned, O: Serialize>(
    task: &'static str,
    run: impl AsyncFn(&Aws, &Settings, I) -> Result<O, TaskError>,
) -> Result<(), lambda_runtime::Error> {
    let stack = &stack(task).await;
    let run = &run;
    let handler = service_fn(move |event: LambdaEvent<String>| async move {
        let span = tracing::info_span!(
            "event",
            task,
            request_id = event.context.request_id,
            run_id = field::Empty,
            identifier = field::Empty,
            pipeline = field::Empty,
        );
        let work = async |input: I| {
            let (aws, settings) = stack.as_ref().map_err(environment_invalid)?;
            run(aws, settings, input).await.map_err(failed)
        };
        answer(task, &event.payload, work).instrument(span).await
    });
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = Runtime::new(handler).layer(MapRequestLayer::new(as_text)).run() => ended,
        _ = terminate.recv() => Ok(()),
    }
}

/// Makes any body a JSON text, so that one which is not JSON is told by its name like every other bad input.
fn as_text(mut event: LambdaInvocation) -> LambdaInvocation {
    let text = Value::from(String::from_utf8_lossy(&event.body));
    event.body = text.to_string().into();
    event
}

async fn stack(task: &str) -> Result<(Aws, Settings), EnvironmentError> {
    let resources = Resources::from_environment(needs(task), |name| std::env::var(name).ok())?;
    let settings = Settings {
        stack: resources.stack.clone(),
        poll_seconds: POLL_SECONDS,
    };
    Ok((Aws::load(resources).await, settings))
}

/// The answer to one event. A panic is an error like others: the next event finds the process as it was.
async fn answer<I: DeserializeOwned, O: Serialize>(
    task: &str,
    event: &str,
    work: impl AsyncFnOnce(I) -> Result<O, Diagnostic>,
) -> Result<Value, Diagnostic> {
    let answered = async {
        let event: Value = serde_json::from_str(event).map_err(|error| bad_input(task, &error))?;
        about(&event);
        let input = serde_json::from_value(event).map_err(|error| bad_input(task, &error))?;
        let output = work(input).await?;
        serde_json::to_value(output).map_err(|error| failed(TaskError::Corrupt(error.to_string())))
    };
    let answered = AssertUnwindSafe(answered)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(panicked(task)));
    match &answered {
        Ok(output) => said(output),
        Err(error) => tracing::error!(error = error.error_type, "{}", error.error_message),
    }
    answered
}

/// Tells the log which run it is about.
fn about(event: &Value) {
    let Ok(input) = serde_json::from_value::<TaskInput>(event.clone()) else {
        return;
    };
    let span = Span::current();
    if let Ok(run_id) = input.run_id() {
        span.record("run_id", cut(&run_id, NAME_CHARACTERS_MAX));
    }
    for name in ["identifier", "pipeline"] {
        if let Some(value) = input.state.get(name).and_then(Value::as_str) {
            span.record(name, cut(value, NAME_CHARACTERS_MAX));
        }
    }
}

fn said(output: &Value) {
    let word = |name: &str| output.get(name).and_then(Value::as_str);
    tracing::info!(
        decision = word("decision"),
        outcome = word("outcome"),
        "done"
    );
}

fn failed(error: TaskError) -> Diagnostic {
    diagnostic(error.name(), &error.to_string())
}

fn bad_input(task: &str, error: &serde_json::Error) -> Diagnostic {
    failed(TaskError::BadInput(format!(
        "the input of `{task}` is not of its form: {error}"
    )))
}

fn environment_invalid(error: &EnvironmentError) -> Diagnostic {
    diagnostic(ENVIRONMENT_INVALID, &error.to_string())
}

fn panicked(task: &str) -> Diagnostic {
    diagnostic(
        PANICKED,
        &format!("a fault in `{task}`: its log says where"),
    )
}

fn diagnostic(name: &str, message: &str) -> Diagnostic {
    Diagnostic {
        error_type: name.to_owned(),
        error_message: cut(message, MESSAGE_CHARACTERS_MAX).to_owned(),
    }
}

/// As much of a text as may be said.
fn cut(text: &str, characters: usize) -> &str {
    text.char_indices()
        .nth(characters)
        .map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answered<I: DeserializeOwned>(
        event: &str,
        work: impl AsyncFnOnce(I) -> Result<Value, Diagnostic>,
    ) -> Result<Value, Diagnostic> {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime")
            .block_on(answer("finish", event, work))
    }

    #[test]
    fn a_panic_is_an_answer_with_a_name_and_without_a_trace() {
        let panics = async |_: Value| -> Result<Value, Diagnostic> { panic!("hunter2") };
        let error = answered("{}", panics).expect_err("it panicked");
        assert_eq!(error.error_type, PANICKED);
        assert_eq!(
            error.error_message,
            "a fault in `finish`: its log says where"
        );
    }

    #[test]
    fn an_input_that_is_not_of_its_form_does_not_reach_the_task() {
        for event in [
            "",
            "{",
            "[]",
            "7",
            "{\"execution\": 7, \"state\": {}}",
            "{\"state\": {}}",
        ] {
            let never = async |_: TaskInput| -> Result<Value, Diagnostic> { Ok(json!("reached")) };
            let error = answered(event, never).expect_err(event);
            assert_eq!(error.error_type, "BadInput", "{event}");
            assert!(
                error.error_message.starts_with("the input of `finish`"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn what_a_bad_input_holds_is_not_quoted_without_end() {
        let event = json!({"execution": {"x".repeat(400_000): 1}, "state": {}}).to_string();
        let fails = async |_: Value| -> Result<Value, Diagnostic> {
            Err(failed(TaskError::Corrupt("é".repeat(400_000))))
        };
        let error = answered(&event, fails).expect_err("it fails");
        assert_eq!(error.error_message.chars().count(), MESSAGE_CHARACTERS_MAX);
    }
}
