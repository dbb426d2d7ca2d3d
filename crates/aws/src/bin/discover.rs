//! `discover` as a Lambda: is capture alive, and which tables have work.

use aws::lambda;
use std::process::ExitCode;
use tasks::discover;
use tasks::state::TaskInput;

fn main() -> ExitCode {
    lambda::serve("discover", async |aws, _, input: TaskInput| {
        discover::run(aws, &input).await
    })
}
