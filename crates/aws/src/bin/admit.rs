//! `admit` as a Lambda: takes the locks, a ticket, or nothing.

use aws::lambda;
use std::process::ExitCode;
use tasks::admit;
use tasks::state::TaskInput;

fn main() -> ExitCode {
    lambda::serve("admit", async |aws, settings, input: TaskInput| {
        admit::run(aws, settings, &input).await
    })
}
