//! What a Lambda says of its work: one JSON object a line. Never an input, the configuration or the environment.

use std::panic::{Location, PanicHookInfo};
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Lines go to stdout from here on. What the lines are about is in their `span`. Environment variables do not change what
/// is said: the SDK at a finer level writes requests and answers.
pub fn init() {
    let said = Targets::new()
        .with_default(LevelFilter::WARN)
        // Names are compared from their beginning: the SDK's own begin with `aws_`.
        .with_target("aws::", Level::INFO)
        .with_target("tasks::", Level::INFO)
        // It repeats every error in its debug form.
        .with_target("lambda_runtime", LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false);
    // A second subscriber in one process is refused: the first one stays.
    let _ = tracing_subscriber::registry()
        .with(said)
        .with(lines)
        .try_init();
    std::panic::set_hook(Box::new(panicked));
}

/// Instead of the bare text that Rust writes.
fn panicked(panic: &PanicHookInfo<'_>) {
    let at = panic.location().map(Location::to_string);
    // A text that was made from values may hold anything.
    let why = panic.payload().downcast_ref::<&str>();
    tracing::error!(error = "Panicked", at, why, "the task panicked");
}
