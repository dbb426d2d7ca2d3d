//! A small database, a home folder and the programs between them: what tests of whole runs play on.

use crate::programs::{output, program, root};
use local::Local;
use pipeline::run::{Run, RunStatus};
use serde_json::{Value, json};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tasks::port::{Executions, Ledger};
use tasks::record;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// What is waited for has come by then, or never will.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Waits until `look` finds something; panics with `what` when it never does.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A private PostgreSQL server, removed at the end.
pub struct Server {
    folder: TempDir,
    port: u16,
    password: String,
}

impl Server {
    pub fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let port = output(&mut server_script("start", folder.path()));
        let password = std::fs::read_to_string(folder.path().join("password"))
            .expect("the script writes the password");
        Self {
            port: port.trim().parse().expect("the script prints the port"),
            password: password.trim().to_owned(),
            folder,
        }
    }

    /// Runs statements in a database.
    pub fn execute(&self, database: &str, sql: &str) {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .user("headwater")
            .password(&self.password)
            .dbname(database);
        runtime().block_on(async {
            let (client, connection) = config
                .connect(tokio_postgres::NoTls)
                .await
                .unwrap_or_else(|error| panic!("database `{database}`: {error}"));
            let connection = tokio::spawn(connection);
            client
                .batch_execute(sql)
                .await
                .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            drop(client);
            let _ = connection.await;
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = server_script("remove", self.folder.path()).status();
    }
}

fn server_script(command: &str, folder: &Path) -> Command {
    let mut script = Command::new(root().join("scripts/postgres"));
    script.arg(command).arg(folder);
    script
}

/// A process that carries the scene's home in its environment.
#[derive(Debug)]
pub struct Process {
    pub id: String,
    pub command: String,
}

/// A home folder with a configuration and a secret, and the database that they name.
pub struct Scene<'a> {
    server: &'a Server,
    folder: TempDir,
    /// Identifier, database and secret are called alike.
    pub name: String,
}

impl<'a> Scene<'a> {
    /// Makes the database by `sql` and imports `items`, of which `identifier` and `secret` are `name`.
    pub fn make(server: &'a Server, name: &str, sql: &str, items: &Value) -> Self {
        server.execute("postgres", &format!("CREATE DATABASE {name}"));
        server.execute(name, sql);
        let folder = TempDir::new().expect("a temporary folder");
        let scene = Self {
            server,
            folder,
            name: name.to_owned(),
        };
        scene.write_secret();
        let file = scene.folder.path().join("items.json");
        std::fs::write(&file, items.to_string()).expect("the folder can be written");
        output(scene.headwater(&["import"]).arg(file));
        scene
    }

    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn write_secret(&self) {
        let folder = self.home().join("secrets");
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        let secret = json!({
            "username": "headwater", "password": self.server.password, "engine": "postgres",
            "host": "127.0.0.1", "port": self.server.port, "dbname": self.name,
        });
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(folder.join(format!("{}.json", self.name)))
            .expect("the secret can be written");
        serde_json::to_writer(file, &secret).expect("the secret can be written");
    }

    pub fn execute(&self, sql: &str) {
        self.server.execute(&self.name, sql);
    }

    /// `headwater` with arguments, in this home.
    pub fn headwater(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("headwater"));
        // Its absence would be noticed only when a step starts.
        program("headwater-worker");
        command
            .args(arguments)
            .env("HEADWATER_HOME", self.home())
            .env_remove("HEADWATER_KILL_AT")
            .env_remove("HEADWATER_KILL_LIST");
        command
    }

    /// Like `headwater`, about this scene's identifier.
    pub fn own(&self, arguments: &[&str]) -> Command {
        let mut command = self.headwater(arguments);
        command.args(["--identifier", &self.name]);
        command
    }

    /// All runs, oldest first.
    pub fn runs(&self) -> Vec<Run> {
        let local = Local::open(&self.home()).expect("the home can be opened");
        runtime().block_on(async {
            let mut runs = Vec::new();
            let listed = record::list::<Value>(&local, &record::runs_partition(&self.name), "")
                .await
                .expect("the ledger can be read");
            for entry in listed {
                let (_, run_id) = entry
                    .key
                    .sort
                    .split_once('#')
                    .expect("a run's entry names it");
                let run = record::get_run(&local, run_id)
                    .await
                    .expect("a listed run is there");
                runs.push(run.value);
            }
            runs
        })
    }

    /// What the admission record says, when it says that runs are live.
    pub fn live_in_admission(&self) -> Vec<String> {
        let local = Local::open(&self.home()).expect("the home can be opened");
        let read = runtime().block_on(record::get::<pipeline::admission::Admissions>(
            &local,
            &record::admission(&self.name),
        ));
        read.expect("the ledger can be read")
            .map(|admission| {
                admission
                    .value
                    .live
                    .iter()
                    .map(|live| live.run_id.clone())
                    .collect()
            })
            .unwrap_or_default()
    }

    /// Processes that carry this home, without capture.
    pub fn processes(&self) -> Vec<Process> {
        let mark = format!("HEADWATER_HOME={}", self.home().display());
        let carries = |folder: &Path| {
            std::fs::read(folder.join("environ")).is_ok_and(|environment| {
                environment
                    .split(|byte| *byte == 0)
                    .any(|part| part == mark.as_bytes())
            })
        };
        std::fs::read_dir("/proc")
            .expect("there is a /proc")
            .flatten()
            .filter(|entry| carries(&entry.path()))
            .filter_map(|entry| {
                let command = std::fs::read(entry.path().join("cmdline")).ok()?;
                Some(Process {
                    id: entry.file_name().to_string_lossy().into_owned(),
                    command: String::from_utf8_lossy(&command).replace('\0', " "),
                })
            })
            .filter(|process| !process.command.contains(" capture "))
            .collect()
    }

    /// The texts of the mails sent so far.
    pub fn mails(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.home().join("mail")) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "eml"))
            .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
            .collect()
    }

    /// Whether no execution runs, and nothing is still to be sent.
    fn settled(&self) -> bool {
        let local = Local::open(&self.home()).expect("the home can be opened");
        runtime().block_on(async {
            let running = local.list_running_executions().await;
            let outbox = local.list(record::OUTBOX, "").await;
            running.expect("executions can be read").is_empty()
                && outbox.expect("the ledger can be read").is_empty()
        })
    }

    /// Sweeps until no run is open, nothing is to be sent, and no process of a cluster lives.
    pub fn heal(&self, story: &str) {
        wait_for(
            &format!("{story}: all runs ended and no process left"),
            || {
                let swept = self.headwater(&["sweep"]).output().expect("it starts");
                assert!(swept.status.success(), "{story}: {}", said(&swept));
                let ended = self.runs().iter().all(|run| run.status == RunStatus::Ended);
                (ended && self.settled() && self.processes().is_empty()).then_some(())
            },
        );
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        let _ = self.own(&["capture", "stop"]).output();
        for process in self.processes() {
            let _ = Command::new("kill").args(["-KILL", &process.id]).output();
        }
    }
}

/// All that a program said.
pub fn said(output: &Output) -> String {
    format!(
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
