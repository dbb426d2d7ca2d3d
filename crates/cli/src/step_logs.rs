//! What one step, or the supervisor of a cluster, writes: where it is.

use crate::context::Trouble;
use local::Local;
use local::clusters::StepRecord;
use pipeline::progress::parse_step_name;
use pipeline::run::Run;
use std::path::Path;

const STREAMS: [&str; 2] = ["stdout", "stderr"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The name of the step, or the id of the cluster.
    pub source: String,
    pub attempt: Option<u32>,
    pub state: Option<String>,
    pub stream: &'static str,
    /// Path, URI or key.
    pub place: String,
    /// What it says, where that is known without reading a file.
    pub text: Option<String>,
}

/// What supervisors wrote, then the logs of a run's steps in order.
pub fn of_home(local: &Local, run: &Run) -> Result<Vec<Log>, Trouble> {
    let mut logs = Vec::new();
    for cluster in run
        .clusters
        .iter()
        .filter_map(|cluster| cluster.id.as_ref())
    {
        let path = local.home().cluster_logs(cluster).join("supervisor.log");
        logs.push(Log {
            source: cluster.clone(),
            attempt: None,
            state: None,
            stream: "supervisor",
            place: text(&path),
            text: None,
        });
        for step in local.cluster_steps(cluster)? {
            let folder = local.home().step_logs(cluster, &step.id);
            logs.extend(
                STREAMS
                    .into_iter()
                    .filter_map(|stream| log(&step, stream, &folder.join(stream))),
            );
        }
    }
    Ok(logs)
}

fn log(step: &StepRecord, stream: &'static str, path: &Path) -> Option<Log> {
    let (source, attempt) = step_of(&step.name)?;
    Some(Log {
        source,
        attempt: Some(attempt),
        state: Some(step.state.clone()),
        stream,
        place: text(path),
        text: None,
    })
}

/// What a submitted step is about, and the attempt.
pub fn step_of(name: &str) -> Option<(String, u32)> {
    let (_, attempt) = parse_step_name(name)?;
    Some((name.splitn(3, '-').nth(2)?.to_owned(), attempt))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
