//! `submit-steps` as a Lambda: one wave of steps.

use aws::lambda;
use std::process::ExitCode;
use tasks::state::TaskInput;
use tasks::submit_steps;

fn main() -> ExitCode {
    lambda::serve("submit-steps", async |aws, settings, input: TaskInput| {
        submit_steps::run(aws, settings, &input).await
    })
}
