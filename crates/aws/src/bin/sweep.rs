//! `sweep` as a Lambda: repairs what ledger, executions and clusters disagree on. Whatever event wakes it, it looks for itself.

use aws::lambda;
use serde::de::IgnoredAny;
use std::process::ExitCode;
use tasks::sweep;

fn main() -> ExitCode {
    lambda::serve("sweep", async |aws, settings, _: IgnoredAny| {
        sweep::run(aws, settings).await
    })
}
