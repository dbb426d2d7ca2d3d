//! The command line for a stack: the built `headwater` against moto's server as AWS.

use crate::moto::{Server, server, unique};
use crate::programs::{program, root};
use crate::scene::{runtime, said, wait_for};
use aws::Aws;
use aws::resources::Resources;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_cloudformation::Client as CloudFormation;
use aws_sdk_scheduler::Client as Scheduler;
use aws_sdk_scheduler::operation::get_schedule::GetScheduleOutput;
use aws_sdk_scheduler::types::{FlexibleTimeWindow, FlexibleTimeWindowMode, ScheduleState, Target};
use flate2::write::GzEncoder;
use pipeline::report::{StepFailure, StepOutcome, StepResult};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tasks::port::{Clusters, Executions, Objects};
use tasks::step::{claim, record_result};
use tasks::{Settings, dispatch, record};
use tempfile::TempDir;

const ACCOUNT: &str = "123456789012";
const IDENTIFIER: &str = "shop";

/// A stack on the server, as far as the command line sees it, and a person with a terminal.
struct World {
    name: String,
    /// Access key id of the person.
    caller: String,
    folder: TempDir,
    server: &'static Server,
}

impl World {
    fn empty() -> Self {
        let name = unique("lake");
        Self {
            caller: name.to_uppercase(),
            name,
            folder: TempDir::new().expect("a temporary folder"),
            server: server(),
        }
    }

    /// With a stack whose outputs are those of the template.
    fn deployed() -> Self {
        let world = Self::empty();
        let outputs = outputs(&world.name);
        runtime().block_on(world.deploy(&outputs));
        world
    }

    async fn deploy(&self, outputs: &Value) {
        let template = template(&self.name, outputs);
        let config = self.server.config("FOUNDATION").await;
        // It makes much at once: on a busy machine longer than an adapter waits, and asked again it would be there already.
        let config = aws_sdk_cloudformation::config::Builder::from(&config)
            .timeout_config(TimeoutConfig::disabled())
            .build();
        CloudFormation::from_conf(config)
            .create_stack()
            .stack_name(&self.name)
            .template_body(template.to_string())
            .send()
            .await
            .expect("a stack");
    }

    /// `headwater --stack NAME` with arguments.
    fn headwater(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("headwater"));
        command
            .args(["--stack", &self.name])
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("AWS_ENDPOINT_URL", self.server.endpoint())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_ACCESS_KEY_ID", &self.caller)
            .env("AWS_SECRET_ACCESS_KEY", "secret");
        command
    }

    /// What a command writes, which ends with this code.
    fn says(&self, code: i32, arguments: &[&str]) -> String {
        stdout(&self.ends(code, arguments))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.says(0, &[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    fn ends(&self, code: i32, arguments: &[&str]) -> Output {
        let output = self.headwater(arguments).output().expect("it starts");
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            said(&output)
        );
        output
    }

    /// A file in the person's folder.
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, bytes).expect("written");
        path
    }

    fn import(&self, items: &Value) {
        let file = self.file("items.json", items.to_string().as_bytes());
        self.ends(0, &["import", text(&file)]);
    }

    /// Pushes a bootstrap script and a worker.
    fn push(&self) -> Value {
        self.file("jobs/bootstrap.sh", b"#!/bin/sh\n");
        self.file(".aws-workers/aarch64/headwater-worker", b"a program");
        self.json(&["artifacts", "push", "--jdbc-driver", "nowhere.jar"])
    }

    /// The stack's own ports, as its tasks have them.
    async fn ports(&self) -> Aws {
        let name = &self.name;
        let outputs = outputs(name);
        let text = |output: &str| outputs[output].as_str().expect("an output").to_owned();
        let resources = Resources {
            stack: name.clone(),
            config_table: text("ConfigTable"),
            ledger_table: text("LedgerTable"),
            state_machine: text("StateMachine"),
            topic: text("Topic"),
            artifacts: text("Artifacts"),
            zones: zones(name),
            cluster: cluster(name),
            subnets: vec!["subnet-0a".to_owned()],
        };
        Aws::new(self.server.config("FOUNDATION").await, resources).without_metrics()
    }

    async fn schedule(&self, name: &str) -> GetScheduleOutput {
        Scheduler::new(&self.server.config("FOUNDATION").await)
            .get_schedule()
            .name(name)
            .send()
            .await
            .expect("a schedule")
    }

    /// Runs these tasks of a run, one after the other, as the state machine does.
    async fn tasks(&self, ports: &Aws, run_id: &str, tasks: &[&str]) {
        let execution = ports
            .describe_execution(run_id)
            .await
            .expect("described")
            .expect("there");
        let settings = Settings {
            stack: self.name.clone(),
            poll_seconds: 30,
        };
        let mut state = execution.input;
        for task in tasks {
            let input = json!({"execution": run_id, "state": state});
            state = dispatch(ports, &settings, task, input)
                .await
                .unwrap_or_else(|error| panic!("{task}: {error}"));
        }
    }
}

/// The outputs of the template.
fn outputs(name: &str) -> Value {
    json!({
        "ConfigTable": format!("{name}-config"),
        "LedgerTable": format!("{name}-ledger"),
        "StateMachine": format!("arn:aws:states:eu-west-1:{ACCOUNT}:stateMachine:{name}-pipeline"),
        "Topic": format!("arn:aws:sns:eu-west-1:{ACCOUNT}:{name}-notices"),
        "Artifacts": format!("s3://{name}-artifacts"),
        "Zones": zones(name).to_string(),
        "Cluster": cluster(name).to_string(),
        "Subnets": "subnet-0a",
        "Schedules": format!("{name}-FullLoadSchedule-1X,{name}-IncrementalSchedule-2Y"),
    })
}

fn zones(name: &str) -> Value {
    json!({
        "bronze": format!("s3://{name}-runtime/bronze"),
        "silver": format!("s3://{name}-runtime/silver"),
        "gold": format!("s3://{name}-runtime/gold"),
        "runtime": format!("s3://{name}-runtime"),
    })
}

fn cluster(name: &str) -> Value {
    json!({
        "service_role": "EMR_DefaultRole",
        "instance_profiles": {"bronze": "b", "silver": "s", "gold": "g"},
        "log_uri": format!("s3://{name}-logs/emr"),
        "native_instance_type": "m7g.xlarge",
        "native_release_label": "emr-7.13.0",
    })
}

/// What commands touch of the template's resources, with these outputs.
fn template(name: &str, outputs: &Value) -> Value {
    let table = |suffix: &str, key: [&str; 2]| {
        json!({"Type": "AWS::DynamoDB::Table", "Properties": {
            "TableName": format!("{name}-{suffix}"),
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": key.map(|name| json!({"AttributeName": name, "AttributeType": "S"})),
            "KeySchema": [{"AttributeName": key[0], "KeyType": "HASH"}, {"AttributeName": key[1], "KeyType": "RANGE"}],
        }})
    };
    let bucket = |suffix: &str| json!({"Type": "AWS::S3::Bucket", "Properties": {"BucketName": format!("{name}-{suffix}")}});
    let definition = json!({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}});
    let values: serde_json::Map<String, Value> = outputs
        .as_object()
        .expect("an object")
        .iter()
        .map(|(output, value)| (output.clone(), json!({"Value": value})))
        .collect();
    json!({
        "Resources": {
            "ConfigTable": table("config", ["identifier", "config"]),
            "LedgerTable": table("ledger", ["partition", "sort"]),
            "RuntimeBucket": bucket("runtime"),
            "ArtifactsBucket": bucket("artifacts"),
            "LogsBucket": bucket("logs"),
            "NoticeTopic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": format!("{name}-notices")}},
            "PipelineStateMachine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": {
                "StateMachineName": format!("{name}-pipeline"),
                "RoleArn": format!("arn:aws:iam::{ACCOUNT}:role/{name}"),
                "DefinitionString": definition.to_string(),
            }},
        },
        "Outputs": values,
    })
}

/// A small configuration: a native load of these tables.
fn items(tables: &[&str]) -> Value {
    let mut items = vec![
        json!({"config": "database::config", "secret": "shop", "target_db_name": "shop", "target_table_prefix": "shop"}),
        json!({"config": "pipeline::system::jdbc_load", "engine": "native", "notify": "all"}),
    ];
    items.extend(
        tables
            .iter()
            .map(|table| json!({"config": format!("step::system::{table}"), "enabled": true})),
    );
    for item in &mut items {
        item["identifier"] = json!(IDENTIFIER);
    }
    Value::Array(items)
}

const LOAD: [&str; 5] = ["run", "--identifier", IDENTIFIER, "--pipeline", "jdbc_load"];

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_is_no_stack_of_ours_is_told_with_what_helps() {
    let world = World::empty();
    let told = |command: &mut Command, code: i32, message: &str| {
        let output = command.output().expect("it starts");
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert_eq!(stderr(&output), message);
        assert_eq!(stdout(&output), "");
    };
    let name = &world.name;
    told(
        world.headwater(&["runs"]).env_remove("AWS_REGION"),
        2,
        "error: no AWS region is configured\nhint: set AWS_REGION, or `aws configure`\n",
    );
    let nobody = world
        .headwater(&["runs"])
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .output()
        .expect("it starts");
    assert_eq!(nobody.status.code(), Some(1), "{}", said(&nobody));
    let (begins, ends) = (
        "error: no AWS credentials can be had: ",
        "\nhint: `aws configure`, `aws sso login`, or AWS_PROFILE\n",
    );
    assert!(
        stderr(&nobody).starts_with(begins) && stderr(&nobody).ends_with(ends),
        "{}",
        said(&nobody)
    );
    told(
        &mut world.headwater(&["runs"]),
        2,
        &format!(
            "error: there is no stack `{name}` in region `eu-west-1`\n\
             hint: `sam deploy` makes it; AWS_REGION or AWS_PROFILE may name another place\n"
        ),
    );
    runtime().block_on(world.deploy(&json!({"ConfigTable": "t", "Topic": "arn"})));
    told(
        &mut world.headwater(&["runs"]),
        2,
        &format!(
            "error: stack `{name}` has no output `LedgerTable`, `StateMachine`, `Artifacts`, `Zones`, `Cluster`, `Subnets`, `Schedules`\n\
             hint: is it a stack of headwater's template, and of this version?\n"
        ),
    );
    told(
        &mut world.headwater(&["capture", "status", "--identifier", "shop"]),
        2,
        "error: `capture` is for this machine\n\
         hint: on AWS, AWS DMS writes change files; an alarm of the stack tells when they stop coming\n",
    );
    told(
        &mut world.headwater(&["runs", "--home", "here"]),
        2,
        "error: `--home` is of this machine, `--stack` of AWS\nhint: leave one of them out\n",
    );
    told(
        Command::new(program("headwater"))
            .args(["schedule", "list"])
            .current_dir(world.folder.path()),
        2,
        "error: `schedule` is for a stack: `--stack NAME`\nhint: on this machine cron can type `headwater run`\n",
    );
}

#[test]
fn a_configuration_goes_to_a_stack_and_comes_back() {
    let world = World::deployed();
    let example = root().join("examples/tpcc/config.json");
    let example = text(&example);
    let server = world.server;
    runtime().block_on(server.fail(&world.caller, "TransactWriteItems", "denied", 1));
    let refused = world.ends(1, &["import", example]);
    assert!(
        stderr(&refused).contains("error: the import of `tpcc` was interrupted: DynamoDB refused"),
        "{}",
        said(&refused)
    );
    assert!(stderr(&refused).contains("hint: the same import again completes it"));
    let imported = world.json(&["import", example]);
    assert_eq!(imported["imported"][0]["identifier"], "tpcc");
    assert_eq!(world.says(0, &["diff", example]), "");
    assert_eq!(
        world.json(&["import", example])["imported"][0]["changed"],
        0
    );
    // The same program on this machine has the same bytes.
    let local = |arguments: &[&str]| {
        let mut command = Command::new(program("headwater"));
        command
            .args(arguments)
            .arg("--home")
            .arg(world.folder.path().join("home"));
        let output = command.output().expect("it starts");
        assert!(output.status.success(), "{}", said(&output));
        stdout(&output)
    };
    local(&["import", example]);
    assert_eq!(world.says(0, &["export"]), local(&["export"]));
    let checked = world.json(&["check"]);
    assert_eq!(checked["ok"], true, "{checked}");
    assert_eq!(
        checked["source"],
        format!("the table of stack `{}`", world.name)
    );
}

#[test]
fn what_was_pushed_is_planned_for_and_pushing_again_uploads_nothing() {
    let world = World::deployed();
    world.import(&items(&["public.orders"]));
    let plan = [
        "plan",
        "--identifier",
        IDENTIFIER,
        "--pipeline",
        "jdbc_load",
    ];
    let refused = world.ends(1, &plan);
    assert!(
        stderr(&refused).contains("no artifacts were pushed")
            && stderr(&refused).contains(&format!(
                "hint: `headwater --stack {} artifacts push`",
                world.name
            )),
        "{}",
        said(&refused)
    );
    let states = |pushed: &Value| -> Vec<(String, String)> {
        let word = |value: &Value| value.as_str().expect("a word").to_owned();
        let files = pushed["files"].as_array().expect("files");
        files
            .iter()
            .map(|file| (word(&file["name"]), word(&file["state"])))
            .collect()
    };
    let all = |state: &str| {
        ["bootstrap", "worker_aarch64", "artifacts.json"]
            .map(|name| (name.to_owned(), state.to_owned()))
    };
    assert_eq!(states(&world.push()), all("uploaded"));
    assert_eq!(states(&world.push()), all("there already"));
    let puts = || {
        let requests = world.server.requests_of(&world.caller);
        let put = |request: &&Value| request["service"] == "s3" && request["method"] == "PUT";
        requests.iter().filter(put).count()
    };
    assert_eq!(puts(), 3);
    let planned = world.json(&plan);
    let sum = pipeline::run::sha256(b"a program");
    assert_eq!(planned["code"]["worker_aarch64"], sum.as_str());
    assert_eq!(
        planned["zones"]["bronze"],
        format!("s3://{}-runtime/bronze/shop", world.name)
    );
    // What the stack's task plans is what is printed.
    let frozen = runtime().block_on(async {
        let ports = world.ports().await;
        let deployment = tasks::port::Deployments::deployment(&ports)
            .await
            .expect("pushed");
        let request = pipeline::planning::PlanRequest {
            identifier: IDENTIFIER.to_owned(),
            pipeline: "jdbc_load".to_owned(),
            engine: None,
        };
        let items = tasks::port::ConfigTable::items(&ports, IDENTIFIER)
            .await
            .expect("read");
        pipeline::planning::plan(&items, &deployment, &request).expect("planned")
    });
    assert_eq!(planned["sha256"], frozen.sha256());
    let spark = world.ends(1, &[&plan[..], &["--engine", "spark"]].concat());
    assert!(
        stderr(&spark).contains("`artifacts.jdbc_driver` is missing"),
        "{}",
        said(&spark)
    );
    // A script of a custom pipeline has a name that stays, and is replaced when it changes.
    for (script, state) in [
        ("one", "uploaded"),
        ("one", "there already"),
        ("two", "uploaded"),
    ] {
        world.file("scripts/gold/revenue.py", script.as_bytes());
        let pushed = world.json(&["artifacts", "push", "--jobs", "scripts"]);
        let last = states(&pushed).pop().expect("the script");
        assert_eq!(last, ("gold/revenue.py".to_owned(), state.to_owned()));
    }
    let script = format!("s3://{}-artifacts/jobs/gold/revenue.py", world.name);
    let script = runtime().block_on(async { world.ports().await.read(&script).await });
    assert_eq!(script, Ok(Some(b"two".to_vec())));
}

#[test]
fn a_run_is_started_shown_and_cancelled() {
    let world = World::deployed();
    world.import(&items(&["public.orders", "public.broken"]));
    world.push();
    let run_id = pipeline::run::run_id(IDENTIFIER, "jdbc_load", "monday");
    let detached = [
        &LOAD[..],
        &["--key", "monday", "--table", "public.orders", "--detach"],
    ]
    .concat();
    assert_eq!(world.says(0, &detached), format!("{run_id}\n"));
    runtime().block_on(async {
        let ports = world.ports().await;
        let execution = ports
            .describe_execution(&run_id)
            .await
            .expect("described")
            .expect("there");
        let input = json!({
            "identifier": IDENTIFIER, "pipeline": "jdbc_load", "depth": 0, "chain": "configured",
            "trigger": {"kind": "manual", "id": "monday"}, "only": ["public.orders"],
        });
        assert_eq!(execution.input, input);
        assert_eq!(world.json(&["runs"]), json!([]));
        world
            .tasks(&ports, &run_id, &["read-config", "admit"])
            .await;
    });
    let shown = world.json(&["show", "last"]);
    assert_eq!(
        (
            &shown["run_id"],
            &shown["status"],
            &shown["tables"][0]["state"]
        ),
        (&json!(run_id), &json!("ADMITTED"), &json!("waiting"))
    );
    let asked = world.ends(0, &["cancel", &run_id, "--detach"]);
    assert_eq!(
        stderr(&asked),
        format!("run `{run_id}` will be cancelled\n")
    );
    runtime().block_on(async {
        let ports = world.ports().await;
        world
            .tasks(&ports, &run_id, &["read-config", "finish"])
            .await;
    });
    let ended = world.says(0, &["cancel", &run_id]);
    assert!(ended.starts_with(&format!("{run_id}: ABORTED")), "{ended}");
    let runs = world.json(&["runs", "--identifier", IDENTIFIER]);
    assert_eq!(runs[0]["outcome"], "ABORTED");
    // Asking with the same key follows the same run, which has ended.
    let followed = world.ends(
        1,
        &[&LOAD[..], &["--key", "monday", "--table", "public.orders"]].concat(),
    );
    assert!(
        stdout(&followed).starts_with(&format!("{run_id}: ABORTED")),
        "{}",
        said(&followed)
    );
    let hint = format!(
        "hint: headwater --stack {0} show {run_id}; headwater --stack {0} logs",
        world.name
    );
    assert!(stderr(&followed).contains(&hint), "{}", said(&followed));
    // A resume is another run, of what is left.
    let resumed = world.says(0, &["resume", "last", "--detach"]);
    assert_ne!(resumed, format!("{run_id}\n"));
    let wrong = world.ends(
        2,
        &["run", "--identifier", IDENTIFIER, "--pipeline", "jdbc_laod"],
    );
    assert!(
        stderr(&wrong).contains("did you mean `jdbc_load`?"),
        "{}",
        said(&wrong)
    );
}

#[test]
fn a_failed_step_is_told_with_its_root_cause_and_what_emr_kept() {
    let world = World::deployed();
    world.import(&items(&["public.broken", "public.orders"]));
    world.push();
    let run_id = world.says(0, &[&LOAD[..], &["--detach"]].concat());
    let run_id = run_id.trim_end();
    let early = "early lines\n";
    runtime().block_on(async {
        let ports = world.ports().await;
        let tasks = [
            "read-config",
            "admit",
            "discover",
            "build-cluster",
            "submit-steps",
        ];
        world.tasks(&ports, run_id, &tasks).await;
        let run = record::get_run(&ports, run_id)
            .await
            .expect("recorded")
            .value;
        let cluster = run
            .cluster()
            .and_then(|cluster| cluster.id.clone())
            .expect("a cluster");
        let steps = ports.list_steps(&cluster, &[]).await.expect("listed");
        let step = steps
            .iter()
            .find(|step| step.name.ends_with("public.orders"))
            .expect("submitted");
        let kept = format!(
            "s3://{}-logs/emr/{cluster}/steps/{}/stderr.gz",
            world.name, step.id
        );
        ports.put(&kept, &packed(early)).await.expect("kept");
        let claim = claim(&ports, run_id, 0, 1).await.expect("claimed");
        let failure = StepFailure {
            error: "DuplicateKeys".to_owned(),
            message: "`public.broken` has two rows of one key".to_owned(),
            hint: Some("mend the source".to_owned()),
            root_cause: vec!["key 7 is there twice".to_owned()],
        };
        let result = StepResult {
            schema_version: 1,
            run_id: run_id.to_owned(),
            index: 0,
            name: "public.broken".to_owned(),
            attempt: 1,
            started: claim.at,
            ended: claim.at.plus_seconds(7),
            outcome: StepOutcome::Failed(failure),
        };
        record_result(&ports, &result).await.expect("recorded");
    });
    let failure = "DuplicateKeys: `public.broken` has two rows of one key\nhint: mend the source\nkey 7 is there twice\n";
    assert_eq!(
        world.says(0, &["logs", run_id]),
        format!("==> public.broken, attempt 1, FAILED: root cause <==\n{failure}")
    );
    let kept = world.says(0, &["logs", run_id, "--table", "public.orders"]);
    assert!(
        kept.starts_with("==> public.orders, attempt 1, ")
            && kept.ends_with(&format!(": stderr <==\n{early}")),
        "{kept}"
    );
    let shown = world.json(&["show", run_id]);
    let tables = shown["tables"].as_array().expect("tables");
    let states: Vec<&Value> = tables.iter().map(|table| &table["state"]).collect();
    assert_eq!(states, ["failed", "waiting"]);
    assert_eq!(tables[0]["seconds"], 7.0);
    let swept = world.ends(0, &["sweep"]);
    assert_eq!(
        (stdout(&swept), stderr(&swept)),
        (String::new(), "nothing to repair\n".to_owned())
    );
}

fn packed(text: &str) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(text.as_bytes()).expect("packed");
    packer.finish().expect("packed")
}

#[test]
fn whoever_stops_following_a_run_of_a_stack_leaves_it_running() {
    let world = World::deployed();
    world.import(&items(&["public.orders"]));
    world.push();
    let run_id = pipeline::run::run_id(IDENTIFIER, "jdbc_load", "k");
    let mut following = world
        .headwater(&[&LOAD[..], &["--key", "k"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(following.stderr.take().expect("a pipe")).lines();
    let runtime = runtime();
    let ports = runtime.block_on(world.ports());
    wait_for("the execution is there", || {
        let found = runtime.block_on(ports.describe_execution(&run_id));
        found.expect("described")
    });
    runtime.block_on(world.tasks(&ports, &run_id, &["read-config"]));
    let mut next = || lines.next().expect("a line").expect("UTF-8");
    assert_eq!(next(), format!("jdbc_load: run `{run_id}`"));
    let id = following.id().to_string();
    let signalled = Command::new("kill").args(["-INT", &id]).status();
    assert!(signalled.expect("it starts").success());
    let name = &world.name;
    assert_eq!(next(), format!("run `{run_id}` goes on in stack `{name}`"));
    assert_eq!(
        next(),
        format!(
            "hint: headwater --stack {name} show {run_id}; headwater --stack {name} cancel {run_id}"
        )
    );
    assert_eq!(following.wait().expect("it ends").code(), Some(1));
    let run = runtime
        .block_on(record::get_run(&ports, &run_id))
        .expect("recorded");
    assert_eq!(run.value.cancel, None);
}

#[test]
fn schedules_are_listed_and_turned_on_and_off_with_all_else_as_it_was() {
    let world = World::deployed();
    let names = ["FullLoadSchedule-1X", "IncrementalSchedule-2Y"]
        .map(|name| format!("{}-{name}", world.name));
    runtime().block_on(async {
        let scheduler = Scheduler::new(&world.server.config("FOUNDATION").await);
        for (name, pipeline) in names.iter().zip(["jdbc_load", "incremental_hudi"]) {
            make_schedule(&scheduler, name, pipeline).await;
        }
    });
    let states = |schedules: &Value| -> Vec<String> {
        let schedules = schedules.as_array().expect("an array");
        let told = |schedule: &Value| {
            format!("{} {}", schedule["input"]["pipeline"], schedule["state"]).replace('"', "")
        };
        schedules.iter().map(told).collect()
    };
    assert_eq!(
        states(&world.json(&["schedule", "list"])),
        ["jdbc_load disabled", "incremental_hudi disabled"]
    );
    let before = runtime().block_on(world.schedule(&names[1]));
    assert_eq!(
        states(&world.json(&["schedule", "enable", "incremental"])),
        ["incremental_hudi enabled"]
    );
    let after = runtime().block_on(world.schedule(&names[1]));
    assert_eq!(after.state, Some(ScheduleState::Enabled));
    let rest = |schedule: &GetScheduleOutput| {
        (
            schedule.schedule_expression.clone(),
            schedule.schedule_expression_timezone.clone(),
            schedule.description.clone(),
            schedule.flexible_time_window.clone(),
            schedule.target.clone(),
            schedule.start_date,
        )
    };
    assert_eq!(rest(&after), rest(&before));
    let all = world.ends(0, &["schedule", "disable"]);
    assert_eq!(
        stderr(&all),
        "the next deploy of the template sets them as its parameter `SchedulesState` says\n"
    );
    let listed = world.says(0, &["schedule", "list"]);
    assert_eq!(listed.matches(" disabled ").count(), 2, "{listed}");
    for (name, message) in [
        ("Schedule", "error: `Schedule` may be any of 2 schedules"),
        ("weekly", "error: there is no schedule `weekly`"),
    ] {
        let refused = world.ends(2, &["schedule", "enable", name]);
        assert!(stderr(&refused).starts_with(message), "{}", said(&refused));
    }
}

async fn make_schedule(scheduler: &Scheduler, name: &str, pipeline: &str) {
    let window = FlexibleTimeWindow::builder()
        .mode(FlexibleTimeWindowMode::Flexible)
        .maximum_window_in_minutes(5);
    let input = json!({"identifier": IDENTIFIER, "pipeline": pipeline});
    let target = Target::builder()
        .arn(format!(
            "arn:aws:states:eu-west-1:{ACCOUNT}:stateMachine:pipeline"
        ))
        .role_arn(format!("arn:aws:iam::{ACCOUNT}:role/schedules"))
        .input(input.to_string());
    scheduler
        .create_schedule()
        .name(name)
        .schedule_expression("rate(2 hours)")
        .schedule_expression_timezone("Europe/Berlin")
        .description("of the template")
        .state(ScheduleState::Disabled)
        .start_date(aws_sdk_scheduler::primitives::DateTime::from_secs(
            1_800_000_000,
        ))
        .flexible_time_window(window.build().expect("a window"))
        .target(target.build().expect("a target"))
        .send()
        .await
        .expect("a schedule");
}
