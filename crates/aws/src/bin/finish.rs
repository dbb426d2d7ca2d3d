//! `finish` as a Lambda: fixes the outcome, sees the cluster gone, ends the run.

use aws::lambda;
use std::process::ExitCode;
use tasks::finish;
use tasks::state::TaskInput;

fn main() -> ExitCode {
    lambda::serve("finish", async |aws, settings, input: TaskInput| {
        finish::run(aws, settings.poll_seconds, &input).await
    })
}
