//! The judge of requests: the services' own models, which botocore carries, and limits that they lack.

use crate::programs::root;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

/// A program of a judge's own environment.
pub fn tool(environment: &str, name: &str) -> PathBuf {
    let path = root()
        .join(".tools")
        .join(environment)
        .join("bin")
        .join(name);
    assert!(
        path.exists(),
        "`{name}` of the judges is not installed: {}\nhint: scripts/setup",
        path.display()
    );
    path
}

fn models() -> Command {
    let mut command = Command::new(tool("cfn", "python"));
    command.arg(root().join("tests/judges/models.py"));
    command
}

/// A judge that waits for requests; it ends with this process, when its stdin closes.
struct Judge {
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

static JUDGE: LazyLock<Mutex<Judge>> = LazyLock::new(|| {
    let mut child = models()
        .arg("--serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the judge starts");
    Mutex::new(Judge {
        questions: child.stdin.take().expect("it is piped"),
        answers: BufReader::new(child.stdout.take().expect("it is piped")),
    })
});

/// Fails unless each of these requests, as `tests/judges/moto.py` records them, fits its service's model and limits.
pub fn fit(requests: &[Value]) {
    let mut judge = JUDGE.lock().unwrap_or_else(PoisonError::into_inner);
    let violations: Vec<String> = requests
        .iter()
        .flat_map(|request| judge.violations(request))
        .collect();
    drop(judge);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

impl Judge {
    fn violations(&mut self, request: &Value) -> Vec<String> {
        writeln!(self.questions, "{request}").expect("the judge reads");
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("the judge answers");
        serde_json::from_str(&line).expect("the judge answers with a list of texts")
    }
}

#[test]
fn the_judge_of_requests_finds_what_is_wrong_in_broken_ones() {
    let samples = root().join("tests/judges/models.jsonl");
    crate::programs::output(models().arg("--self-test").arg(samples));
}
