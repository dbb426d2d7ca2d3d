//! `next-pipeline` as a Lambda: starts the chained run.

use aws::lambda;
use std::process::ExitCode;
use tasks::next_pipeline;
use tasks::state::TaskInput;

fn main() -> ExitCode {
    lambda::serve("next-pipeline", async |aws, _, input: TaskInput| {
        next_pipeline::run(aws, &input).await
    })
}
