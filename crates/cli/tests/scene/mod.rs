//! A home folder, the program in it, and a worker that is played by the test binary: it claims and records as the real one does.

use local::Local;
use pipeline::report::{StepFailure, StepOutcome, StepReport, StepResult};
use pipeline::run::FileRef;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tasks::port::Clock;
use tasks::step::{claim, read_plan, record_result};
use tempfile::TempDir;

/// What is waited for has come by then, or never will.
const PATIENCE: Duration = Duration::from_secs(60);
/// Arguments of the played worker.
const PLAYED: &str = "PLAYED_WORKER";
pub const IDENTIFIER: &str = "shop";
/// A table that can only be loaded.
pub const KEYLESS: &str = "public.keyless";

/// Waits until `look` finds something; panics with `what` when it never does.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub struct Scene {
    folder: TempDir,
}

impl Scene {
    /// A home whose `jdbc_load` has these tables; `public.off` is one that is switched off.
    pub fn with_tables(tables: &[&str]) -> Self {
        let scene = Self {
            folder: TempDir::new().expect("a temporary folder"),
        };
        let script = format!(
            "#!/bin/sh\n[ ! -e \"$HEADWATER_HOME/deaf\" ] || trap '' TERM\n{PLAYED}=\"$*\" exec '{}' worker_process --exact --nocapture\n",
            std::env::current_exe().expect("this program").display()
        );
        std::fs::write(scene.worker(), script).expect("written");
        std::fs::set_permissions(scene.worker(), PermissionsExt::from_mode(0o755))
            .expect("may be started");
        scene.configure(tables, 60);
        scene
    }

    pub fn configure(&self, tables: &[&str], timeout_minutes: u32) {
        let mut items = vec![
            json!({"config": "database::config", "secret": "shop", "target_db_name": "shop", "target_table_prefix": "shop"}),
            json!({
                "config": "pipeline::system::jdbc_load", "notify": "all", "timeout_minutes": timeout_minutes,
                "emr_config": {"step_parallelism": 2},
                "next_pipeline": {"pipeline_type": "seed_hudi", "enabled": true},
            }),
            json!({"config": "pipeline::system::seed_hudi", "notify": "all", "emr_config": {"step_parallelism": 2}}),
            json!({
                "config": "step::system::public.off", "enabled": false,
                "hudi_config": {"primary_key": "id", "watermark": "trx_seq", "is_partitioned": false},
            }),
        ];
        items.extend(tables.iter().map(|table| {
            let mut item = json!({"config": format!("step::system::{table}"), "enabled": true});
            if *table != KEYLESS {
                item["hudi_config"] =
                    json!({"primary_key": "id", "watermark": "trx_seq", "is_partitioned": false});
            }
            item
        }));
        for item in &mut items {
            item["identifier"] = json!(IDENTIFIER);
        }
        self.local()
            .replace_config(IDENTIFIER, &items)
            .expect("written");
    }

    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub fn local(&self) -> Local {
        Local::open(&self.home()).expect("opened")
    }

    fn worker(&self) -> PathBuf {
        self.folder.path().join("headwater-worker")
    }

    /// `let go` ends what `public.held` waits for, `mended` mends `public.broken`, `deaf` makes workers that no SIGTERM ends.
    pub fn put(&self, file: &str) {
        std::fs::write(self.home().join(file), "").expect("written");
    }

    pub fn headwater(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        command
            .args(arguments)
            .env("HEADWATER_HOME", self.home())
            .env("HEADWATER_WORKER", self.worker())
            .env_remove("HEADWATER_KILL_AT")
            .env_remove("HEADWATER_KILL_LIST");
        command
    }

    pub fn load(&self, more: &[&str]) -> Command {
        let mut command =
            self.headwater(&["run", "--identifier", IDENTIFIER, "--pipeline", "jdbc_load"]);
        command.args(more);
        command
    }

    pub fn start(&self, command: &mut Command) -> Child {
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts")
    }

    /// JSON that a command writes.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self
            .headwater(arguments)
            .arg("--json")
            .output()
            .expect("it starts");
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)))
    }

    pub fn runs(&self) -> Vec<Value> {
        self.json(&["runs"]).as_array().expect("an array").clone()
    }

    /// Waits until the played worker holds `public.held`.
    pub fn wait_until_held(&self) {
        wait_for("a worker holds the table", || {
            self.home().join("held").exists().then_some(())
        });
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for id in processes(&self.home()) {
            let _ = Command::new("kill").args(["-KILL", &id]).output();
        }
    }
}

/// Processes that carry this home.
pub fn processes(home: &Path) -> Vec<String> {
    let mark = format!("HEADWATER_HOME={}", home.display());
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
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Waits for a program's end.
pub fn end_of(mut child: Child) -> Output {
    wait_for("the program ends", || {
        child.try_wait().expect("it can be waited for")
    });
    child.wait_with_output().expect("it has ended")
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

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The body of a step, when this process was started as one.
pub fn play_worker() {
    let Ok(words) = std::env::var(PLAYED) else {
        return;
    };
    let words: Vec<&str> = words.split(' ').collect();
    let value = |name: &str| {
        let place = words.iter().position(|word| *word == name);
        words[place.expect("an argument of the step") + 1]
    };
    let home = PathBuf::from(std::env::var_os("HEADWATER_HOME").expect("a home"));
    let local = Local::open(&home).expect("opened");
    let file = FileRef {
        uri: value("--plan").to_owned(),
        sha256: value("--sha256").to_owned(),
    };
    let number = |name: &str| value(name).parse().expect("a number");
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(play(
            &local,
            &home,
            &file,
            number("--index"),
            number("--attempt"),
        ));
}

async fn play(local: &Local, home: &Path, file: &FileRef, index: u32, attempt: u32) {
    let frozen = read_plan(local, file).await.expect("a plan");
    let name = &frozen.plan.steps[index as usize].name;
    let claim = claim(local, &frozen.run_id, index, attempt)
        .await
        .expect("claimed");
    println!("{name} begins");
    local
        .progress(&frozen.run_id, name, 40, 4000, Some(100))
        .expect("kept");
    if name == "public.held" {
        std::fs::write(home.join("held"), "").expect("written");
        wait_for("the table is let go", || {
            home.join("let go").exists().then_some(())
        });
    }
    let fails = name == "public.broken" && !home.join("mended").exists();
    let outcome = match fails {
        false => StepOutcome::Succeeded(StepReport {
            rows: 100,
            inserted: 60,
            updated: 30,
            deleted: 10,
            ..StepReport::default()
        }),
        true => StepOutcome::Failed(StepFailure {
            error: "DuplicateKeys".to_owned(),
            message: format!("`{name}` has two rows of one key"),
            hint: Some("mend the source".to_owned()),
            root_cause: vec!["key 7 is there twice".to_owned()],
        }),
    };
    let result = StepResult {
        schema_version: 1,
        run_id: frozen.run_id.clone(),
        index,
        name: name.clone(),
        attempt,
        started: claim.at,
        ended: local.now(),
        outcome,
    };
    record_result(local, &result).await.expect("recorded");
    assert!(!fails, "{name} is broken");
}
