//! Whole runs of the Lambda binaries under ministack: its DynamoDB, S3, SNS, EMR and Step Functions behind them, and clusters whose steps write
//! results as workers do (`tests/judges/stack.py`).

use super::story::{Answer, Story};
use super::walk::{Ministack, Walk, ours, walk};
use crate::programs::{program, root};
use asl::Machine;
use pipeline::deployment::Deployment;
use pipeline::path::CAPTURE_FILE;
use pipeline::plan::Engine;
use pipeline::position::{CaptureIdentity, CaptureState, Position, Seed};
use pipeline::report::{StepOutcome, StepReport, StepResult};
use pipeline::seq::ChangeSeq;
use pipeline::time::Timestamp;
use serde_json::{Map, Value, json};
use sim::World;
use sim::machine::{Simulation, word};
use sim::worker::{Behaviour, End, at_once};
use std::collections::BTreeMap;
use std::path::Path;
use tasks::Settings;
use tasks::port::{Clock, ExecutionStatus, Objects};

const STACK: &str = "headwater";
const MACHINE: &str = "pipeline";
const ACCOUNT: &str = "us-east-1:000000000000";
const CONFIG: &str = "config";
const LEDGER: &str = "ledger";
const TOPIC: &str = "notices";
const ROWS: u64 = 10;
/// Its step ends without a result.
const FORGETFUL: &str = "public.forgetful";
/// An identifier whose table is seeded and has no changes.
const IDLE: &str = "idle";
/// 2100-01-01: capture is alive, on both clocks.
const HEARTBEAT: Timestamp = Timestamp(4_102_444_800_000);
const SIMULATED_SECONDS: i64 = 6 * 3600;

/// A run: name of its execution, start input, and how the execution ends.
struct Asked {
    name: &'static str,
    input: Value,
    end: &'static str,
}

fn asked(name: &'static str, identifier: &str, trigger: Value, end: &'static str) -> Asked {
    let input = json!({"identifier": identifier, "pipeline": "jdbc_load", "trigger": trigger});
    Asked { name, input, end }
}

fn first() -> Vec<Asked> {
    let manual = |id: &str| json!({"kind": "manual", "id": id});
    let late = json!({"kind": "schedule", "id": "late", "due": "2025-12-31T00:00:00Z", "interval_minutes": "rate(2 hours)"});
    let incremental = |mut asked: Asked| {
        asked.input["pipeline"] = json!("incremental_hudi");
        asked
    };
    let silent = asked("capture-is-silent", "silent", manual("s"), "FAILED FAILED");
    let idle = asked("nothing-has-changed", IDLE, manual("i"), "SUCCEEDED");
    vec![
        asked("one-table-is-loaded", "shop", manual("load"), "SUCCEEDED"),
        asked(
            "one-of-two-tables-is-lost",
            "bank",
            manual("lost"),
            "FAILED PARTIAL",
        ),
        asked(
            "nobody-has-this-identifier",
            "nobody",
            manual("nobody"),
            "FAILED FAILED",
        ),
        asked("the-schedule-came-late", "late", late, "SUCCEEDED"),
        incremental(silent),
        incremental(idle),
    ]
}

/// The first run's trigger once more, when that run has ended.
fn second() -> Vec<Asked> {
    let mut again = first().swap_remove(0);
    again.name = "the-same-trigger-again";
    vec![again]
}

/// The run that the first one starts.
const CHAINED_END: &str = "SUCCEEDED";

fn items() -> Vec<Value> {
    let item = |identifier: &str, config: &str, more: Value| {
        let mut item = json!({"identifier": identifier, "config": config});
        let more = more.as_object().cloned().unwrap_or_default();
        item.as_object_mut().expect("an object").extend(more);
        item
    };
    let database = |name: &str| json!({"secret": name, "target_db_name": "lake", "target_table_prefix": name, "capture": {"kind": "headwater"}});
    let pipeline = json!({"engine": "native", "notify": "all"});
    let chained = json!({"engine": "native", "notify": "all", "next_pipeline": {"pipeline_type": "seed_hudi", "enabled": true}});
    let table = json!({"enabled": true, "hudi_config": {"primary_key": "id", "watermark": "trx_seq", "is_partitioned": false}});
    let mut items = Vec::new();
    for name in ["shop", "bank", "late", "silent", IDLE] {
        items.push(item(name, "database::config", database(name)));
        let load = if name == "shop" { &chained } else { &pipeline };
        items.push(item(name, "pipeline::system::jdbc_load", load.clone()));
        for other in ["seed_hudi", "incremental_hudi"] {
            let config = format!("pipeline::system::{other}");
            items.push(item(name, &config, pipeline.clone()));
        }
        items.push(item(name, "step::system::public.orders", table.clone()));
    }
    items.push(item("bank", &format!("step::system::{FORGETFUL}"), table));
    items
}

/// What a seed has left of the idle table: its silver URI and position.
fn seeded(deployment: &Deployment) -> (String, Position) {
    let position = Position {
        schema_version: 1,
        epoch: Some("epoch".to_owned()),
        seed: Some(Seed {
            run_id: "seed".to_owned(),
            load_run_id: "load".to_owned(),
            t0: ChangeSeq::new(Timestamp(0), 0),
            load_ended: Timestamp(0),
            rows: ROWS,
        }),
        applied: None,
        complete_through: None,
        engine: Engine::Native,
        pending: None,
        needs_reseed: None,
    };
    let zones = deployment.zones_of(IDLE);
    (
        zones.silver_table(&format!("{IDLE}_public_orders")),
        position,
    )
}

/// Where the idle identifier's capture says that it lives, and how.
fn capture(deployment: &Deployment) -> (String, String) {
    let state = CaptureState {
        schema_version: 1,
        epoch: "epoch".to_owned(),
        slot: "headwater_idle".to_owned(),
        heartbeat: HEARTBEAT,
        flushed_lsn: "0/0".to_owned(),
        started: Timestamp(0),
        last_seq: ChangeSeq::new(Timestamp(0), 0),
        needs_reseed: BTreeMap::new(),
        tables: Vec::new(),
        identity: CaptureIdentity::default(),
    };
    let root = deployment.zones_of(IDLE).changes_root(IDLE);
    (format!("{root}/{CAPTURE_FILE}"), json!(state).to_string())
}

fn parsed(deployment: &Value) -> Deployment {
    Deployment::parse(deployment).expect("the deployment is right")
}

/// The deployment of the example, as this stack.
fn deployment() -> Value {
    let path = root().join("examples/tpcc/deployment.json");
    let text = std::fs::read_to_string(path).expect("the example is there");
    let mut deployment: Value = serde_json::from_str(&text).expect("the example is JSON");
    deployment["name"] = json!(STACK);
    deployment["notice_topic"] = json!(format!("arn:aws:sns:{ACCOUNT}:{TOPIC}"));
    deployment
}

fn bucket(uri: &Value) -> String {
    let uri = uri.as_str().expect("a URI");
    let path = uri.strip_prefix("s3://").expect("a URI of S3");
    path.split('/').next().unwrap_or_default().to_owned()
}

fn artifacts_bucket(deployment: &Value) -> String {
    bucket(&deployment["artifacts"]["bootstrap"]["uri"])
}

fn stack(deployment: &Value) -> Value {
    let zones = deployment["zones"].as_object().expect("zones");
    let artifacts = artifacts_bucket(deployment);
    let mut buckets: Vec<String> = zones.values().map(bucket).collect();
    buckets.push(artifacts.clone());
    let result = StepResult {
        schema_version: 1,
        run_id: String::new(),
        index: 0,
        name: String::new(),
        attempt: 0,
        started: Timestamp(0),
        ended: Timestamp(0),
        outcome: StepOutcome::Succeeded(StepReport {
            rows: ROWS,
            ..StepReport::default()
        }),
    };
    let list = format!("s3://{artifacts}/artifacts.json");
    let (capture, state) = capture(&parsed(deployment));
    let (silver, position) = seeded(&parsed(deployment));
    let position = json!({"partition": "position", "sort": silver, "version": 1, "body": position});
    json!({
        "tables": {CONFIG: ["identifier", "config"], LEDGER: ["partition", "sort"]},
        "items": {CONFIG: items(), LEDGER: [position]},
        "buckets": buckets,
        "objects": {list: deployment["artifacts"].to_string(), capture: state},
        "topic": TOPIC,
        "ledger": LEDGER,
        "result": result,
        "forgets": [FORGETFUL],
    })
}

/// Of every function: each takes what its task needs.
fn environment(deployment: &Value) -> Value {
    let mut cluster = deployment["cluster"].clone();
    let subnets = cluster
        .as_object_mut()
        .and_then(|cluster| cluster.remove("subnets"));
    let subnets = subnets.as_ref().and_then(Value::as_array).expect("subnets");
    let subnets: Vec<&str> = subnets.iter().filter_map(Value::as_str).collect();
    json!({
        "HEADWATER_STACK": STACK,
        "HEADWATER_CONFIG_TABLE": CONFIG,
        "HEADWATER_LEDGER_TABLE": LEDGER,
        "HEADWATER_STATE_MACHINE": format!("arn:aws:states:{ACCOUNT}:stateMachine:{MACHINE}"),
        "HEADWATER_TOPIC": deployment["notice_topic"],
        "HEADWATER_ARTIFACTS": format!("s3://{}", artifacts_bucket(deployment)),
        "HEADWATER_ZONES": deployment["zones"].to_string(),
        "HEADWATER_CLUSTER": cluster.to_string(),
        "HEADWATER_SUBNETS": subnets.join(","),
    })
}

/// Each task's binary, by the name in its resource. It is started from where it was built: as a package each has tens of megabytes.
fn functions(definition: &Value, deployment: &Value, folder: &Path) -> Map<String, Value> {
    let states = definition["States"].as_object().expect("states");
    let resources = states
        .values()
        .filter_map(|state| state["Resource"].as_str());
    resources
        .map(|resource| {
            let task = word(resource);
            let bootstrap = folder.join(&task);
            let script = format!("#!/bin/sh\nexec '{}'\n", program(&task).display());
            std::fs::write(&bootstrap, script).expect("the folder can be written");
            let function = json!({
                "bootstrap": bootstrap,
                "timeout_seconds": 60,
                "environment": environment(deployment),
            });
            (super::walk::function(resource), function)
        })
        .collect()
}

/// What ministack tells of every execution, those that were started by others too.
fn in_ministack(definition: &Value, deployment: &Value) -> Map<String, Value> {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let mut ministack = Ministack::start(folder.path());
    let executions = |asked: Vec<Asked>| -> Map<String, Value> {
        let named = asked
            .into_iter()
            .map(|asked| (asked.name.to_owned(), asked.input));
        named.collect()
    };
    let machine = json!({
        "definition": definition,
        "functions": functions(definition, deployment, folder.path()),
        "executions": executions(first()),
    });
    let mut told =
        ministack.ask(&json!({"stack": stack(deployment), "machines": {MACHINE: machine}}));
    let machine = json!({"executions": executions(second())});
    told.extend(ministack.ask(&json!({"machines": {MACHINE: machine}})));
    told
}

/// Task states and end of every execution, in the simulated account.
fn simulated(definition: &Value, deployment: &Value) -> BTreeMap<String, (Vec<String>, bool)> {
    let deployment = parsed(deployment);
    let (capture, state) = capture(&deployment);
    let (silver, position) = seeded(&deployment);
    let mut world = World::default();
    world.deployment = deployment;
    *world.items.borrow_mut() = items();
    at_once(tasks::position::write(&world, &silver, None, &position))
        .expect("at once")
        .expect("written");
    at_once(world.put(&capture, state.as_bytes()))
        .expect("at once")
        .expect("put");
    let forgetful = Behaviour {
        end: End::ForgetsResult,
        ..Behaviour::default()
    };
    world
        .behaviours
        .borrow_mut()
        .insert(FORGETFUL.to_owned(), forgetful);
    let settings = Settings {
        stack: STACK.to_owned(),
        poll_seconds: 30,
    };
    let machine = Machine::load(definition).expect("the definition loads");
    let mut simulation = Simulation::new(&world, settings, machine);
    for batch in [first(), second()] {
        for asked in batch {
            world
                .begin_execution(asked.name, &asked.input)
                .expect("the execution starts");
        }
        simulation.run_until(world.now().plus_seconds(SIMULATED_SECONDS));
    }
    let executions = world.executions.borrow();
    executions
        .iter()
        .map(|execution| {
            let visited = simulation.visited.get(&execution.name);
            let mut path = visited.cloned().unwrap_or_default();
            path.dedup();
            let succeeded = execution.status == ExecutionStatus::Succeeded;
            (execution.name.clone(), (path, succeeded))
        })
        .collect()
}

/// The execution as a story of what its tasks answered.
fn retold(name: &str, told: &Value) -> Story {
    let json = |value: &Value| {
        serde_json::from_str(value.as_str().unwrap_or("null")).expect("ministack gives JSON")
    };
    let history = told["history"].as_array().expect("a history");
    let answers = history.iter().filter_map(|event| {
        let failed = &event["taskFailedEventDetails"];
        match event["type"].as_str()? {
            "TaskSucceeded" => Some(Answer::Returns(json(
                &event["taskSucceededEventDetails"]["output"],
            ))),
            "TaskFailed" => Some(Answer::Fails(
                failed["error"].as_str()?.to_owned(),
                failed["cause"].as_str()?.to_owned(),
            )),
            _ => None,
        }
    });
    Story {
        name: name.to_owned(),
        input: json(&told["input"]),
        answers: answers.collect(),
    }
}

/// Task states as they were entered; a state that is entered again and again counts once: how often depends on the clock.
fn task_path(definition: &Value, walk: &Walk) -> Vec<String> {
    let states = walk.visits.iter().map(|visit| visit.state.clone());
    let is_task = |state: &String| definition["States"][state]["Type"] == "Task";
    let mut path: Vec<String> = states.filter(is_task).collect();
    path.dedup();
    path
}

fn end(walk: &Walk) -> String {
    let words = [&walk.end["status"], &walk.end["Error"]];
    let words: Vec<&str> = words.into_iter().filter_map(Value::as_str).collect();
    words.join(" ")
}

/// Everything in which runs of the binaries differ from `asl` with the same answers, from the simulation, and from how they must end.
pub fn differences(definition: &Value) -> Vec<String> {
    let deployment = deployment();
    let told = in_ministack(definition, &deployment);
    let simulated = simulated(definition, &deployment);
    let asked: Vec<Asked> = first().into_iter().chain(second()).collect();
    let mut found = Vec::new();
    let mut differs = |name: &str, what: String| found.push(format!("{name}: {what}"));
    for (name, told) in &told {
        let theirs = walk(told, Vec::new());
        let mut ours = ours(definition, &retold(name, told));
        ours.asked.clear();
        if let Some(difference) = ours.difference(&theirs) {
            differs(name, difference);
        }
        let wanted = asked.iter().find(|asked| asked.name == name);
        let wanted = wanted.map_or(CHAINED_END, |asked| asked.end);
        if end(&theirs) != wanted {
            differs(name, format!("ends as {}, not as {wanted}", end(&theirs)));
        }
        let path = (task_path(definition, &theirs), end(&theirs) == "SUCCEEDED");
        if simulated.get(name) != Some(&path) {
            differs(
                name,
                format!("{path:?}, simulated {:?}", simulated.get(name)),
            );
        }
    }
    let names = |keys: Vec<&String>| format!("{keys:?}");
    let (here, there) = (told.keys().collect(), simulated.keys().collect());
    let (here, there) = (names(here), names(there));
    if here != there {
        differs("executions", format!("{here}, simulated {there}"));
    }
    found
}
