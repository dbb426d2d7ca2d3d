//! `artifacts`: the code that clusters of a stack run.

use crate::context::{Context, Trouble, block_on};
use crate::print::{self, say};
use crate::stack;
use aws::Aws;
use aws::deployment::ARTIFACTS_FILE;
use pipeline::run::sha256;
use serde_json::{Map, Value, json};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tasks::port::{Object, Objects};

/// The code that clusters of a stack run
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Uploads what is not there yet, and lists it for plans to come
    ///
    /// A file is kept under its sha256: pushing again uploads nothing, and runs under way keep what they began with. What
    /// is not found this time stays as it was listed before. Default paths are those of a clone of the repository, where
    /// `scripts/aws-build workers` builds the workers.
    Push(Push),
}

#[derive(clap::Args)]
struct Push {
    /// The bootstrap script of clusters
    #[arg(long, value_name = "PATH", default_value = "jobs/bootstrap.sh")]
    bootstrap: PathBuf,
    /// The worker for Graviton machines
    #[arg(
        long,
        value_name = "PATH",
        default_value = ".aws-workers/aarch64/headwater-worker"
    )]
    worker_aarch64: PathBuf,
    /// The worker for Intel and AMD machines
    #[arg(
        long,
        value_name = "PATH",
        default_value = ".aws-workers/x86_64/headwater-worker"
    )]
    worker_x86_64: PathBuf,
    /// The PySpark program that loads over JDBC, for the spark engine
    #[arg(long, value_name = "PATH", default_value = "jobs/jdbc_load.py")]
    jdbc_load: PathBuf,
    /// The Postgres JDBC driver, for the spark engine
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/usr/share/java/postgresql.jar"
    )]
    jdbc_driver: PathBuf,
    /// A folder of scripts of custom pipelines; they go to where relative scripts are looked for
    #[arg(long, value_name = "DIR")]
    jobs: Option<PathBuf>,
}

/// A file with its bytes.
type Read = (Artifact, Vec<u8>);

/// Nothing starts without it.
const BOOTSTRAP: &str = "bootstrap";

/// A file that clusters may fetch.
struct Artifact {
    /// As the deployment calls it.
    name: &'static str,
    /// As it is called where it is fetched.
    file: &'static str,
    path: PathBuf,
    /// Who can do without it.
    needed_by: &'static str,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Trouble> {
    let name = context.stack(
        "artifacts",
        "on this machine steps run the worker beside `headwater`",
    )?;
    let Action::Push(push) = arguments.action;
    // All files are read before the first is uploaded.
    let jobs = match &push.jobs {
        Some(folder) => scripts(folder)?,
        None => Vec::new(),
    };
    let (found, absent) = push.files()?;
    block_on(async {
        let stack = stack::open(name).await?;
        let mut store = Store {
            aws: &stack.aws,
            base: stack.aws.resources().artifacts.trim_end_matches('/'),
            files: Vec::new(),
        };
        let list = store.push(&found, &absent).await?;
        for (name, bytes) in &jobs {
            let uri = format!("{}/jobs/{name}", store.base);
            store.put(name, uri, bytes).await?;
        }
        report(context, &store.files, &list)
    })
}

impl Push {
    fn artifacts(&self) -> [Artifact; 5] {
        let artifact = |name, file, path: &Path, needed_by| Artifact {
            name,
            file,
            path: path.to_owned(),
            needed_by,
        };
        [
            artifact(BOOTSTRAP, "bootstrap.sh", &self.bootstrap, "every cluster"),
            artifact(
                "worker_aarch64",
                "headwater-worker",
                &self.worker_aarch64,
                "clusters of Graviton machines",
            ),
            artifact(
                "worker_x86_64",
                "headwater-worker",
                &self.worker_x86_64,
                "clusters of Intel and AMD machines",
            ),
            artifact(
                "jdbc_load",
                "jdbc_load.py",
                &self.jdbc_load,
                "`jdbc_load` by the spark engine",
            ),
            artifact(
                "jdbc_driver",
                "postgresql.jar",
                &self.jdbc_driver,
                "`jdbc_load` by the spark engine",
            ),
        ]
    }

    /// Files with their bytes, and those that are not there.
    fn files(&self) -> Result<(Vec<Read>, Vec<Artifact>), Trouble> {
        let (mut found, mut absent) = (Vec::new(), Vec::new());
        for artifact in self.artifacts() {
            match std::fs::read(&artifact.path) {
                Ok(bytes) => found.push((artifact, bytes)),
                Err(error) if error.kind() == ErrorKind::NotFound => absent.push(artifact),
                Err(error) => return Err(unreadable(&artifact.path, &error)),
            }
        }
        Ok((found, absent))
    }
}

/// The files of a folder and of those in it, by their path below it.
fn scripts(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, Trouble> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries = std::fs::read_dir(&next).map_err(|error| unreadable(&next, &error))?;
        for entry in entries {
            let path = entry.map_err(|error| unreadable(&next, &error))?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).map_err(|error| unreadable(&path, &error))?;
            let name = path.strip_prefix(folder).unwrap_or(&path);
            files.push((name.to_string_lossy().into_owned(), bytes));
        }
    }
    files.sort();
    Ok(files)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Trouble {
    let message = format!("`{}` cannot be read: {error}", path.display());
    match error.kind() {
        ErrorKind::NotFound => Trouble::usage(message),
        _ => Trouble::failed(message),
    }
}

/// Where artifacts go, and what was done there.
struct Store<'a> {
    aws: &'a Aws,
    base: &'a str,
    files: Vec<File>,
}

/// One file of a push.
struct File {
    name: String,
    uri: String,
    bytes: usize,
    state: State,
}

enum State {
    Uploaded,
    ThereAlready,
}

impl State {
    fn word(&self) -> &'static str {
        match self {
            Self::Uploaded => "uploaded",
            Self::ThereAlready => "there already",
        }
    }
}

impl Store<'_> {
    /// Uploads artifacts, then the list that plans read: what is listed is there.
    async fn push(
        &mut self,
        found: &[Read],
        absent: &[Artifact],
    ) -> Result<Map<String, Value>, Trouble> {
        let uri = format!("{}/{ARTIFACTS_FILE}", self.base);
        let mut list = self.list(&uri).await?;
        let bootstrap = |name: &str| name == BOOTSTRAP && !list.contains_key(name);
        if let Some(artifact) = absent.iter().find(|artifact| bootstrap(artifact.name)) {
            let message = format!("`{}` is not there", artifact.path.display());
            return Err(Trouble::usage(message)
                .hint("push from the folder of the repository, or name it with `--bootstrap`"));
        }
        for artifact in absent {
            tell_absent(artifact, list.contains_key(artifact.name));
        }
        for (artifact, bytes) in found {
            let sum = sha256(bytes);
            let uri = format!("{}/{sum}/{}", self.base, artifact.file);
            let there = self
                .aws
                .list_objects(&format!("{}/{sum}", self.base))
                .await?;
            let whole = |object: &Object| object.uri == uri && object.bytes == bytes.len() as u64;
            let state = match there.iter().any(whole) {
                true => State::ThereAlready,
                false => {
                    self.aws.put(&uri, bytes).await?;
                    State::Uploaded
                }
            };
            list.insert(artifact.name.to_owned(), json!({"uri": uri, "sha256": sum}));
            self.done(artifact.name, uri, bytes, state);
        }
        let text = format!("{:#}\n", Value::Object(list.clone()));
        self.put(ARTIFACTS_FILE, uri, text.as_bytes()).await?;
        Ok(list)
    }

    /// What was listed before.
    async fn list(&self, uri: &str) -> Result<Map<String, Value>, Trouble> {
        let Some(bytes) = self.aws.read(uri).await? else {
            return Ok(Map::new());
        };
        serde_json::from_slice(&bytes).map_err(|error| {
            Trouble::failed(format!("`{uri}` is not a list of artifacts: {error}"))
                .hint("remove it, and push again")
        })
    }

    /// A file under a name that stays: uploaded when what is there differs.
    async fn put(&mut self, name: &str, uri: String, bytes: &[u8]) -> Result<(), Trouble> {
        let state = match self.aws.read(&uri).await? {
            Some(there) if there == bytes => State::ThereAlready,
            Some(_) | None => {
                self.aws.put(&uri, bytes).await?;
                State::Uploaded
            }
        };
        self.done(name, uri, bytes, state);
        Ok(())
    }

    fn done(&mut self, name: &str, uri: String, bytes: &[u8], state: State) {
        self.files.push(File {
            name: name.to_owned(),
            uri,
            bytes: bytes.len(),
            state,
        });
    }
}

fn tell_absent(artifact: &Artifact, listed: bool) {
    let path = artifact.path.display();
    match listed {
        true => say(&format!(
            "{}: `{path}` is not there: the one that was pushed before stays",
            artifact.name
        )),
        false => say(&format!(
            "warning: {}: `{path}` is not there: {} cannot be planned",
            artifact.name, artifact.needed_by
        )),
    }
}

fn report(
    context: &Context,
    files: &[File],
    list: &Map<String, Value>,
) -> Result<ExitCode, Trouble> {
    if context.json {
        let files: Vec<Value> = files
            .iter()
            .map(|file| {
                json!({"name": file.name, "uri": file.uri, "bytes": file.bytes, "state": file.state.word()})
            })
            .collect();
        print::json(&json!({"files": files, "artifacts": list}))?;
    } else {
        let rows: Vec<Vec<String>> = files
            .iter()
            .map(|file| {
                vec![
                    file.name.clone(),
                    file.state.word().to_owned(),
                    file.bytes.to_string(),
                    file.uri.clone(),
                ]
            })
            .collect();
        print::data(&print::columns(
            &["artifact", "state", "bytes", "uri"],
            &rows,
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
