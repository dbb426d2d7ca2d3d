//! `build-cluster` as a Lambda: one cluster for the run.

use aws::lambda;
use std::process::ExitCode;
use tasks::build_cluster;
use tasks::state::TaskInput;

fn main() -> ExitCode {
    lambda::serve("build-cluster", async |aws, settings, input: TaskInput| {
        build_cluster::run(aws, &settings.stack, &input).await
    })
}
