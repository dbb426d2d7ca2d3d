//! A Lambda whose task panics when it is told to: what a state machine then sees, and that the next event is served.

use aws::lambda;
use std::process::ExitCode;
use tasks::error::TaskError;

fn main() -> ExitCode {
    lambda::serve("panics", async |_, _, word: String| match word.as_str() {
        "loud" => panic!("the task fell over: {word}"),
        _ => Ok::<_, TaskError>("served"),
    })
}
