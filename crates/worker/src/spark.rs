//! Tables of the spark engine: spark-submit with the arguments of the plan, in which what only a run knows is filled in.
//!
//! What is done before and after it (locks, positions, manifests, checks) is the native engine's: `load::spark`, `seed::spark`, `merge::spark`.

use crate::context::Guard;
use crate::failure::Failure;
use crate::job::Job;
use crate::program;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What stands in planned arguments for a value of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// The run whose load is seeded.
    LoadRunId,
    /// The folder of the published generation.
    Generation,
    /// T0 of a load, as 35 digits.
    T0,
    /// URI of the query over the change files of a batch.
    ChangeFiles,
    /// Path of what a load reads.
    Reading,
    /// Path of the secret, on the local target.
    SecretFile,
}

impl Token {
    fn text(self) -> &'static str {
        match self {
            Self::LoadRunId => "{load_run_id}",
            Self::Generation => "{generation}",
            Self::T0 => "{t0}",
            Self::ChangeFiles => "{change_files}",
            Self::Reading => "{reading}",
            Self::SecretFile => "{secret_file}",
        }
    }
}

/// A spark-submit of the plan.
pub struct Submit<'a> {
    pub job: &'a Job<'a>,
    pub arguments: &'a [String],
    /// Between two looks at whether it may go on.
    pub look: Duration,
    /// Set in its environment beside what every program gets.
    pub environment: Vec<(&'static str, String)>,
}

impl<'a> Submit<'a> {
    pub fn new(job: &'a Job<'a>, arguments: &'a [String]) -> Self {
        Self {
            job,
            arguments,
            look: program::LOOK,
            environment: Vec::new(),
        }
    }

    /// Runs it to its end with these values.
    pub async fn run(&self, values: &[(Token, &str)], guard: &impl Guard) -> Result<(), Failure> {
        let arguments = filled(self.arguments, self.job.run_id, values);
        let mut environment = program::environment(self.job, None);
        environment.extend(self.environment.iter().cloned());
        let told = program::Told {
            named: "spark-submit",
            // What a Python program writes to either goes to stdout.
            says: program::Says::OnBoth(telling),
        };
        program::execute(&arguments, environment, told, guard, self.look).await
    }

    /// Whether an argument is there.
    pub fn has(&self, flag: &str) -> bool {
        self.arguments.iter().any(|argument| argument == flag)
    }
}

/// Not what Spark says all the time, and no frame of a stack.
fn telling(line: &str) -> bool {
    let talk = [" INFO ", " DEBUG ", " TRACE "]
        .iter()
        .any(|level| line.get(..32).unwrap_or(line).contains(level));
    let frame = line.starts_with("\tat ") || line.starts_with("\t... ");
    !talk && !frame
}

/// The arguments with values in place of tokens. What a value says is never taken for a token.
fn filled(arguments: &[String], run_id: &str, values: &[(Token, &str)]) -> Vec<String> {
    let tokens = values.iter().map(|(token, value)| (token.text(), *value));
    let tokens: Vec<(&str, &str)> = tokens.chain([(program::RUN_ID_TOKEN, run_id)]).collect();
    arguments
        .iter()
        .map(|argument| fill(argument, &tokens))
        .collect()
}

fn fill(argument: &str, tokens: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(argument.len());
    let mut rest = argument;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let found = tokens
            .iter()
            .find_map(|(token, value)| Some((rest.strip_prefix(token)?, value)));
        match found {
            Some((after, value)) => {
                out.push_str(value);
                rest = after;
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// A file of this machine for a program that is started, which goes with this.
pub struct Scratch {
    pub path: PathBuf,
}

impl Scratch {
    pub fn write(name: &str, bytes: &[u8]) -> Result<Self, Failure> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = format!("headwater-{}-{number}-{name}", std::process::id());
        let path = std::env::temp_dir().join(file);
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(bytes));
        written.map_err(|error| unwritable(&path, &error))?;
        Ok(Self { path })
    }

    pub fn text(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing depends on its removal.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        "ScratchUnwritable",
        format!("`{}` cannot be written", path.display()),
    )
    .hint("make space in the folder of temporary files")
    .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_neither_talk_nor_frames() {
        for (line, expected) in [
            (
                "26/11/24 19:15:26 INFO SparkContext: Invoking stop() from shutdown hook",
                false,
            ),
            (
                "\tat java.base/java.lang.Class.forName(Class.java:467)",
                false,
            ),
            ("\t... 23 more", false),
            (
                "Caused by: org.postgresql.util.PSQLException: ERROR: INFO is no value",
                true,
            ),
            (
                "26/11/24 19:15:26 ERROR Executor: Exception in task 0.0",
                true,
            ),
            ("Traceback (most recent call last):", true),
        ] {
            assert_eq!(telling(line), expected, "{line}");
        }
    }

    #[test]
    fn values_take_the_place_of_their_tokens_and_of_nothing_else() {
        let values = [
            (Token::T0, "0001"),
            (Token::Generation, "g={t0}"),
            (Token::ChangeFiles, "file:///a b/{run_id}.sql"),
        ];
        for (argument, expected) in [
            ("plain", "plain"),
            ("{t0}", "0001"),
            ("run={run_id}/{t0}{t0}", "run=r-1/00010001"),
            ("s3://b/{generation}", "s3://b/g={t0}"),
            (
                "hoodie.streamer.source.sql.file={change_files}",
                "hoodie.streamer.source.sql.file=file:///a b/{run_id}.sql",
            ),
            ("{unknown} {t0 {{t0}}", "{unknown} {t0 {0001}"),
            ("{load_run_id}", "{load_run_id}"),
            ("ünï {t0}", "ünï 0001"),
        ] {
            let filled = filled(&[argument.to_owned()], "r-1", &values);
            assert_eq!(filled, [expected]);
        }
    }
}
