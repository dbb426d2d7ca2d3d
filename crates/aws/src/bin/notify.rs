//! `notify` as a Lambda: sends what the run has queued for people.

use aws::lambda;
use std::process::ExitCode;
use tasks::notify;
use tasks::state::TaskInput;

fn main() -> ExitCode {
    lambda::serve("notify", async |aws, _, input: TaskInput| {
        notify::run(aws, &input).await
    })
}
