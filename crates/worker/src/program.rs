//! A step that is a program: a script of a custom pipeline, or spark-submit. It is told where the lake is by its environment.

use crate::failure::Failure;
use crate::job::Job;
use crate::store;
use pipeline::report::StepReport;
use pipeline::time::Timestamp;
use std::collections::VecDeque;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;

/// Lines of stderr that a failure keeps: the last ones say why.
const ROOT_CAUSE_LINES_MAX: usize = 20;
/// Characters of one of them.
const LINE_CHARACTERS_MAX: usize = 400;
/// Bytes in which these are: of a longer line the rest is passed on only.
const LINE_BYTES_MAX: usize = 4 * LINE_CHARACTERS_MAX;
/// Programs whose first argument is a script, as plans begin with them.
const INTERPRETERS: [&str; 2] = ["python3", "sh"];
/// Stands for the run's id in arguments.
const RUN_ID_TOKEN: &str = "{run_id}";

/// Runs the program to its end. Its output is the step's output.
pub async fn run(
    job: &Job<'_>,
    arguments: &[String],
    complete_through: Option<Timestamp>,
) -> Result<StepReport, Failure> {
    let mut arguments: Vec<String> = arguments
        .iter()
        .map(|argument| argument.replace(RUN_ID_TOKEN, job.run_id))
        .collect();
    let _fetched = fetch(&mut arguments)?;
    let Some((program, rest)) = arguments.split_first() else {
        return Err(Failure::new("ProgramMissing", "the step names no program"));
    };
    let mut command = Command::new(program);
    command
        .args(rest)
        .envs(environment(job, complete_through))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command
        .spawn()
        .map_err(|error| not_started(program, &error))?;
    let last = match child.stderr.take() {
        Some(stderr) => pass_on(stderr).await,
        None => Vec::new(),
    };
    let status = child.wait().await.map_err(|error| {
        Failure::new("ProgramLost", format!("`{program}` was lost")).caused_by(&error)
    })?;
    if status.success() {
        Ok(StepReport::default())
    } else {
        Err(failed(rest.first().unwrap_or(program), status, last))
    }
}

/// A script in a bucket becomes a file of this machine, which is gone when the step is over: interpreters open no other. What
/// Spark is given it opens itself.
fn fetch(arguments: &mut [String]) -> Result<Option<TempDir>, Failure> {
    let script = match arguments {
        [interpreter, script, ..] if INTERPRETERS.contains(&interpreter.as_str()) => script,
        [program, ..] => program,
        [] => return Ok(None),
    };
    if !script.starts_with("s3://") {
        return Ok(None);
    }
    let place = store::location(script)?;
    let fetched = || {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(place.name());
        std::fs::write(&path, place.read()?)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o700))?;
        Ok((folder, path))
    };
    let (folder, path) = fetched().map_err(|error: std::io::Error| {
        Failure::new("ProgramMissing", format!("`{place}` cannot be fetched"))
            .hint("put the script there, or name another one in `entrypoint`")
            .caused_by(&error)
    })?;
    *script = path.to_string_lossy().into_owned();
    Ok(Some(folder))
}

fn environment(job: &Job<'_>, complete_through: Option<Timestamp>) -> Vec<(&'static str, String)> {
    let zones = &job.plan.zones;
    let mut variables = vec![
        ("HEADWATER_BRONZE_URI", zones.bronze.clone()),
        ("HEADWATER_SILVER_URI", zones.silver.clone()),
        ("HEADWATER_GOLD_URI", zones.gold.clone()),
        ("HEADWATER_RUN_ID", job.run_id.to_owned()),
    ];
    variables.extend(complete_through.map(|at| ("HEADWATER_COMPLETE_THROUGH", at.to_string())));
    variables
}

/// Writes what comes to our own stderr as it is, and keeps the last lines.
async fn pass_on(stderr: impl AsyncRead + Unpin) -> Vec<String> {
    let mut reader = BufReader::new(stderr);
    let mut last = VecDeque::new();
    let mut line = Vec::new();
    // A pipe that breaks ends like one that was closed: the exit status says what happened.
    while let Ok(bytes) = reader.fill_buf().await
        && !bytes.is_empty()
    {
        let _ = std::io::stderr().write_all(bytes);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_BYTES_MAX.saturating_sub(line.len());
            line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                keep(&mut last, &line);
                line.clear();
            }
        }
        let passed = bytes.len();
        reader.consume(passed);
    }
    keep(&mut last, &line);
    last.into()
}

fn keep(last: &mut VecDeque<String>, line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    if text.is_empty() {
        return;
    }
    last.push_back(text.chars().take(LINE_CHARACTERS_MAX).collect());
    if last.len() > ROOT_CAUSE_LINES_MAX {
        last.pop_front();
    }
}

fn not_started(program: &str, error: &std::io::Error) -> Failure {
    let failure = Failure::new("ProgramMissing", format!("`{program}` cannot be started"));
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            failure.hint("install it, or put its folder into PATH; scripts are looked for in `jobs/` of the home folder")
        }
        std::io::ErrorKind::PermissionDenied => failure.hint(format!("chmod +x '{program}'")),
        _ => failure,
    }
    .caused_by(error)
}

fn failed(program: &str, status: ExitStatus, last: Vec<String>) -> Failure {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    };
    let mut failure = Failure::new("ProgramFailed", format!("`{program}` failed: {how}"));
    failure.causes = last;
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::deployment::Deployment;
    use pipeline::plan::Plan;
    use pipeline::planning::{PlanRequest, plan};
    use serde_json::json;

    fn custom() -> Plan {
        let items = [
            json!({"identifier": "shop", "config": "database::config", "secret": "s", "target_db_name": "d", "target_table_prefix": "shop"}),
            json!({"identifier": "shop", "config": "pipeline::custom::gold"}),
            json!({"identifier": "shop", "config": "step::gold::one", "enabled": true, "entrypoint": ["one.sh"]}),
        ];
        let request = PlanRequest {
            identifier: "shop".into(),
            pipeline: "gold".into(),
            engine: None,
        };
        plan(&items, &Deployment::local("/home"), &request).expect("a plan")
    }

    async fn run_shell(script: &str) -> Result<StepReport, Failure> {
        let plan = custom();
        let job = Job {
            run_id: "shop-gold-1",
            plan: &plan,
            secrets: crate::secret::Secrets::Folder(std::path::Path::new("/nowhere")),
        };
        let arguments = ["sh", "-c", script, "{run_id}"].map(str::to_owned);
        run(&job, &arguments, Some(Timestamp(0))).await
    }

    #[tokio::test]
    async fn a_program_finds_the_lake_and_its_run() {
        let told = "[ \"$0\" = shop-gold-1 ] && [ \"$HEADWATER_RUN_ID\" = shop-gold-1 ] \
            && [ \"$HEADWATER_SILVER_URI\" = file:///home/lake/silver/shop ] \
            && [ \"$HEADWATER_COMPLETE_THROUGH\" = 1970-01-01T00:00:00.000Z ]";
        assert!(run_shell(told).await.is_ok());
    }

    #[tokio::test]
    async fn a_failed_program_shows_its_last_lines() {
        let failure = run_shell("for i in $(seq 30); do echo line $i >&2; done; exit 3")
            .await
            .expect_err("it fails");
        assert_eq!(failure.error, "ProgramFailed");
        assert!(failure.message.ends_with("exit status 3"), "{failure}");
        assert_eq!(failure.causes.len(), ROOT_CAUSE_LINES_MAX);
        assert_eq!(failure.causes.last().map(String::as_str), Some("line 30"));
        let endless = "{ head -c 9000 /dev/zero | tr '\\0' x; echo; printf 'no end'; } >&2; exit 1";
        let failure = run_shell(endless).await.expect_err("it fails");
        assert_eq!(
            failure.causes,
            ["x".repeat(LINE_CHARACTERS_MAX), "no end".to_owned()]
        );
        let killed = run_shell("kill -9 $$").await.expect_err("it fails");
        assert!(killed.message.ends_with("killed by signal 9"), "{killed}");
    }

    #[cfg(feature = "aws")]
    #[tokio::test]
    async fn a_script_in_a_bucket_is_run_from_this_machine() {
        let plan = custom();
        let job = Job {
            run_id: "r",
            plan: &plan,
            secrets: crate::secret::Secrets::Folder(std::path::Path::new("/nowhere")),
        };
        let bucket = crate::test_moto::moto().bucket();
        let put = |name: &str, text: &str| {
            let uri = format!("{bucket}/jobs/{name}");
            let place = store::location(&uri).expect("a place");
            place.put(text.as_bytes()).expect("put");
            uri
        };
        let by_name = put("one.sh", "[ \"${0##*/} $1\" = \"one.sh s3://as/it/is\" ]\n");
        let by_itself = put("two", "#!/bin/sh\n[ $# = 1 ]\n");
        let other = "s3://as/it/is";
        for arguments in [vec!["sh", &by_name, other], vec![&by_itself, other]] {
            let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
            run(&job, &arguments, None).await.expect("it succeeds");
        }
        let gone = format!("{bucket}/jobs/gone.py");
        let failure = run(&job, &["python3".to_owned(), gone], None).await;
        let failure = failure.expect_err("it fails");
        assert_eq!(failure.error, "ProgramMissing");
        assert!(failure.message.contains("/jobs/gone.py"), "{failure}");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let plan = custom();
        let job = Job {
            run_id: "r",
            plan: &plan,
            secrets: crate::secret::Secrets::Folder(std::path::Path::new("/nowhere")),
        };
        let failure = run(&job, &["/no/such/program".to_owned()], None)
            .await
            .expect_err("it fails");
        assert_eq!(failure.error, "ProgramMissing");
        assert!(failure.message.contains("`/no/such/program`"), "{failure}");
    }
}
