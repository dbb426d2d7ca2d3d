//! `jobs/bootstrap.sh` as EMR would run it, below a folder of its own, with `aws`, `sudo` and `uname` that are no more than they seem.

use crate::programs::root;
use pipeline::deployment::Deployment;
use pipeline::planning::{PlanRequest, plan};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A worker that says what it was told.
const WORKER: &str =
    "#!/bin/sh\necho \"$HEADWATER_STACK $HEADWATER_LEDGER_TABLE $AWS_REGION $TZ $# $2\"\n";
const ANOTHER: &str = "#!/bin/sh\necho another\n";
const PRIMARY: &str = r#"{ "isMaster": true, "isRunningResourceManager": true }"#;
const CORE: &str = r#"{ "isMaster": false, "instanceGroupId": "core" }"#;

/// A machine of a cluster.
struct Machine {
    folder: TempDir,
    kind: &'static str,
}

impl Machine {
    fn new(kind: &'static str, instance: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let machine = Self { folder, kind };
        for (name, text) in [
            ("uname", "echo \"$MACHINE\"".to_owned()),
            ("sudo", "exec \"$@\"".to_owned()),
            // aws s3 cp --only-show-errors --region REGION URI FILE
            (
                "aws",
                "echo \"$@\" >>\"$HEADWATER_ROOT/fetched\"; cp \"$HEADWATER_ROOT/objects/${6##*/}\" \"$7\"".to_owned(),
            ),
        ] {
            machine.file(&format!("bin/{name}"), &format!("#!/bin/sh\n{text}\n"));
            let path = machine.path(&format!("bin/{name}"));
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a program");
        }
        machine.file("objects/worker", WORKER);
        machine.file("objects/another", ANOTHER);
        if let Some(instance) = instance {
            machine.file("mnt/var/lib/info/instance.json", instance);
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    fn bootstrap(&self, arguments: &[String]) -> Output {
        let path = std::env::var("PATH").expect("a PATH");
        Command::new(root().join("jobs/bootstrap.sh"))
            .args(arguments)
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("HEADWATER_ROOT", self.folder.path())
            .env("MACHINE", self.kind)
            .output()
            .expect("it starts")
    }

    /// What the installed program says when it runs a step; `None` when there is none.
    fn step(&self) -> Option<String> {
        let output = Command::new(self.path("usr/bin/headwater-worker"))
            .args(["step", "an argument", "--index"])
            .output()
            .ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// How often something was fetched.
    fn fetched(&self) -> usize {
        fs::read_to_string(self.path("fetched")).map_or(0, |text| text.lines().count())
    }
}

fn sum(text: &str) -> String {
    format!("{:x}", Sha256::digest(text))
}

/// The arguments of a plan whose workers are these objects, pinned by these sums.
fn arguments(object: &str, sum: &str) -> Vec<String> {
    let read = |name: &str| -> Value {
        let text = fs::read_to_string(root().join("examples/tpcc").join(name)).expect("an example");
        serde_json::from_str(&text).expect("JSON")
    };
    let mut deployment = read("deployment.json");
    for worker in ["worker_aarch64", "worker_x86_64"] {
        deployment["artifacts"][worker] =
            json!({"uri": format!("s3://artifacts/{object}"), "sha256": sum});
    }
    let deployment = Deployment::parse(&deployment).expect("a deployment");
    let items = read("config.json");
    let request = PlanRequest {
        identifier: "tpcc".to_owned(),
        pipeline: "jdbc_load".to_owned(),
        engine: None,
    };
    let plan = plan(items.as_array().expect("items"), &deployment, &request).expect("a plan");
    let action = &plan.cluster.run_job_flow["BootstrapActions"][0]["ScriptBootstrapAction"];
    serde_json::from_value(action["Args"].clone()).expect("texts")
}

#[test]
fn the_primary_node_gets_the_worker_that_the_plan_pins_and_what_it_finds_its_stack_by() {
    for (kind, instance) in [
        ("aarch64", Some(PRIMARY)),
        ("x86_64", Some(PRIMARY)),
        ("x86_64", None),
    ] {
        let machine = Machine::new(kind, instance);
        let output = machine.bootstrap(&arguments("worker", &sum(WORKER)));
        assert!(output.status.success(), "{output:?}");
        let expected = "headwater headwater-ledger eu-west-1 UTC 3 an argument";
        assert_eq!(machine.step().as_deref(), Some(expected), "{kind}");
    }
}

#[test]
fn a_second_run_fetches_nothing_and_a_new_sum_replaces_the_worker() {
    let machine = Machine::new("aarch64", Some(PRIMARY));
    for _ in 0..2 {
        let output = machine.bootstrap(&arguments("worker", &sum(WORKER)));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(machine.fetched(), 1);
    }
    let output = machine.bootstrap(&arguments("another", &sum(ANOTHER)));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(machine.step().as_deref(), Some("another"));
}

#[test]
fn what_cannot_be_had_as_it_is_pinned_fails_the_bootstrap_and_leaves_nothing() {
    let right = sum(WORKER);
    let mut odd = arguments("worker", &right);
    odd.push("riscv64".to_owned());
    for (kind, arguments, said) in [
        (
            "aarch64",
            arguments("another", &right),
            "has not the sum that the plan pins",
        ),
        (
            "x86_64",
            arguments("gone", &right),
            "cannot fetch s3://artifacts/gone",
        ),
        (
            "riscv64",
            arguments("worker", &right),
            "no worker was pushed for this kind of machine: riscv64",
        ),
        ("aarch64", odd, "no machine, sum and URI: riscv64"),
        (
            "aarch64",
            vec!["headwater".to_owned()],
            "usage: bootstrap.sh",
        ),
    ] {
        let machine = Machine::new(kind, Some(PRIMARY));
        let output = machine.bootstrap(&arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(said), "{said}: {stderr}");
        assert_eq!(machine.step(), None, "{said}");
    }
}

#[test]
fn other_nodes_get_nothing() {
    let machine = Machine::new("aarch64", Some(CORE));
    let output = machine.bootstrap(&arguments("worker", &sum(WORKER)));
    assert!(output.status.success(), "{output:?}");
    assert_eq!((machine.fetched(), machine.step()), (0, None));
}
