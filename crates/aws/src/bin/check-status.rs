//! `check-status` as a Lambda: one look at steps and cluster.

use aws::lambda;
use std::process::ExitCode;
use tasks::check_status;
use tasks::state::TaskInput;

fn main() -> ExitCode {
    lambda::serve("check-status", async |aws, settings, input: TaskInput| {
        check_status::run(aws, settings, &input).await
    })
}
