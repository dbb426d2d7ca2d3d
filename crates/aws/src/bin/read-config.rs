//! `read-config` as a Lambda: records the run, reads its configuration, freezes the plan.

use aws::lambda;
use std::process::ExitCode;
use tasks::read_config;
use tasks::state::TaskInput;

fn main() -> ExitCode {
    lambda::serve("read-config", async |aws, _, input: TaskInput| {
        read_config::run(aws, &input).await
    })
}
