//! Programs killed at every point that they name: the next command heals, and nothing is lost, doubled or left behind.
//!
//! A clean recording shows the points that a chain of runs and a capture pass, and how often; it must be the list below, so that
//! a new point cannot be forgotten. Each passing is a case: there the program dies as by `kill -9`.

use crate::scene::{Scene, Server, said, wait_for};
use pipeline::outcome::Outcome;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

/// Scenes that play cases at once.
const SCENES: usize = 2;
/// Passings of one point that are cases of their own: a runner writes its run's record often, each time meaning something else.
const PASSINGS_MAX: usize = 4;
/// What the list below must come to.
const CASES_MIN: usize = 50;

/// The points that runner and worker pass in `jdbc_load` and the `seed_hudi` that follows.
const LOAD_POINTS: &[&str] = &[
    "ledger.after.outbox",
    "ledger.after.position",
    "ledger.after.steps/claim",
    "ledger.after.steps/result",
    "ledger.after.run/run",
    "ledger.after.run/wave",
    "ledger.before.outbox",
    "ledger.before.position",
    "ledger.before.steps/claim",
    "ledger.before.steps/result",
    "ledger.before.run/run",
    "ledger.before.run/wave",
    "load.after.manifest",
    "load.before.files",
    "load.before.manifest",
    "load.mid-copy",
    "runner.after.save",
    "runner.before.save",
    "seed.after.append",
    "seed.after.publish",
    "seed.before.append",
    "seed.before.publish",
    "seed.between.files",
    "seed.between.publish",
];

/// The points that runner and worker pass in `incremental_hudi`.
const MERGE_POINTS: &[&str] = &[
    "ledger.after.outbox",
    "ledger.after.position",
    "ledger.after.steps/claim",
    "ledger.after.steps/result",
    "ledger.after.run/run",
    "ledger.after.run/wave",
    "ledger.before.outbox",
    "ledger.before.position",
    "ledger.before.steps/claim",
    "ledger.before.steps/result",
    "ledger.before.run/run",
    "ledger.before.run/wave",
    "merge.after.commit",
    "merge.after.pending",
    "merge.after.position",
    "merge.before.commit",
    "merge.between.files",
    "runner.after.save",
    "runner.before.save",
];

/// The points that capture passes from its start to its stop.
const CAPTURE_POINTS: &[&str] = &[
    "capture.after.files",
    "capture.after.slot",
    "capture.after.state",
    "capture.before.files",
    "capture.between.files",
    "capture.prepared",
    "capture.published",
];

const TABLES: &str = "
    CREATE TABLE account (id integer PRIMARY KEY, name text NOT NULL, balance numeric(12, 2) NOT NULL, changed timestamptz NOT NULL);
    CREATE TABLE entry (account_id integer, number integer, note text, PRIMARY KEY (account_id, number));
    INSERT INTO account SELECT i, 'account ' || i, i * 1.25, now() FROM generate_series(1, 200) i;
    INSERT INTO entry SELECT i % 50, i, 'entry ' || i FROM generate_series(1, 400) i;
";

/// Inserts, updates and deletes that differ from round to round. The recording is rounds 0 and 1.
fn changes(round: usize) -> String {
    let new = 1000 + round * 10;
    let old = 1 + round % 200;
    format!(
        "INSERT INTO account SELECT i, 'new ' || i, i, clock_timestamp() FROM generate_series({new}, {new} + 4) i;
         UPDATE account SET balance = balance + {round}, changed = clock_timestamp() WHERE id % 7 = {round} % 7;
         DELETE FROM account WHERE id = {old};
         INSERT INTO entry SELECT 1, i, 'new ' || i FROM generate_series({new}, {new} + 4) i;
         UPDATE entry SET note = 'round {round}' WHERE number % 11 = {round} % 11;
         DELETE FROM entry WHERE number = {old};"
    )
}

fn items(name: &str) -> Value {
    let pipeline = |pipeline: &str, next: Option<&str>| {
        let mut item = json!({
            "identifier": name, "config": format!("pipeline::system::{pipeline}"),
            "engine": "native", "notify": "all", "emr_config": {"step_parallelism": 2},
        });
        if let Some(next) = next {
            item["next_pipeline"] = json!({"pipeline_type": next, "enabled": true});
        }
        item
    };
    let table = |table: &str, key: &str| {
        json!({
            "identifier": name, "config": format!("step::system::public.{table}"), "enabled": true,
            "hudi_config": {"primary_key": key, "watermark": "trx_seq", "is_partitioned": false},
        })
    };
    json!([
        {"identifier": name, "config": "database::config", "secret": name, "target_db_name": name, "target_table_prefix": name},
        pipeline("jdbc_load", Some("seed_hudi")),
        pipeline("seed_hudi", Some("incremental_hudi")),
        pipeline("incremental_hudi", None),
        table("account", "id"),
        table("entry", "account_id,number"),
    ])
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Case {
    /// Load and seed are killed at the nth passing of a point.
    Load(String, usize),
    /// A merge is killed at the nth passing of a point.
    Merge(String, usize),
    /// Capture is killed at the nth passing of a point.
    Capture(String, usize),
}

#[test]
fn killed_at_any_point_the_next_command_heals_and_the_lake_is_whole() {
    let server = Server::start();
    let scenes: Vec<Scene> = (0..SCENES)
        .map(|number| {
            let name = format!("killed_{number}");
            Scene::make(&server, &name, TABLES, &items(&name))
        })
        .collect();
    let cases = recorded_cases(&scenes[0]);
    assert!(
        cases.len() >= CASES_MIN,
        "only {} cases: {cases:?}",
        cases.len()
    );
    println!("{} cases", cases.len());
    for scene in &scenes[1..] {
        start_capture(scene);
    }
    let queue = Mutex::new(cases);
    std::thread::scope(|scope| {
        for scene in &scenes {
            scope.spawn(|| {
                for round in 2.. {
                    let next = queue.lock().expect("no case panicked").pop_front();
                    let Some(case) = next else { return };
                    play(scene, &case, round);
                }
            });
        }
    });
}

/// Records a clean chain and a clean capture, compares their points with the lists, and makes a case of each passing.
fn recorded_cases(scene: &Scene) -> VecDeque<Case> {
    let list = scene.home().join("capture.points");
    let started = scene
        .own(&["capture", "start"])
        .env("HEADWATER_KILL_LIST", &list)
        .output()
        .expect("it starts");
    assert!(started.status.success(), "{}", said(&started));
    scene.execute(&changes(0));
    flushed(scene, "recording");
    stop_capture(scene);
    let capture = passings(&list);

    start_capture(scene);
    let load = recorded_run(scene, "jdbc_load");
    scene.execute(&changes(1));
    flushed(scene, "recording");
    let merge = recorded_run(scene, "incremental_hudi");
    whole(scene, "recording");

    compare("LOAD_POINTS", LOAD_POINTS, &load);
    compare("MERGE_POINTS", MERGE_POINTS, &merge);
    compare("CAPTURE_POINTS", CAPTURE_POINTS, &capture);
    let each = |points: BTreeMap<String, usize>, case: fn(String, usize) -> Case| {
        points.into_iter().flat_map(move |(name, count)| {
            (1..=count.min(PASSINGS_MAX)).map(move |nth| case(name.clone(), nth))
        })
    };
    each(load, Case::Load)
        .chain(each(merge, Case::Merge))
        .chain(each(capture, Case::Capture))
        .collect()
}

/// The points of a clean run, and of those that follow it.
fn recorded_run(scene: &Scene, pipeline: &str) -> BTreeMap<String, usize> {
    let list = scene.home().join(format!("{pipeline}.points"));
    let ended = scene
        .own(&["run", "--pipeline", pipeline])
        .env("HEADWATER_KILL_LIST", &list)
        .output()
        .expect("it starts");
    assert!(ended.status.success(), "{}", said(&ended));
    scene.heal("recording");
    passings(&list)
}

/// Passings by point: the most that one process made.
fn passings(list: &Path) -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(list).expect("the recording was written");
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines() {
        *lines.entry(line).or_default() += 1;
    }
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for (line, count) in lines {
        let (_, point) = line
            .split_once(' ')
            .expect("a line is a process and a point");
        let most = found.entry(point.to_owned()).or_default();
        *most = count.max(*most);
    }
    found
}

fn compare(name: &str, listed: &[&str], found: &BTreeMap<String, usize>) {
    let listed: BTreeSet<&str> = listed.iter().copied().collect();
    let found: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(listed, found, "`{name}`, and the points of a clean run");
}

fn play(scene: &Scene, case: &Case, round: usize) {
    let story = format!("{case:?} in {}", scene.name);
    match case {
        Case::Load(point, nth) => {
            scene.execute(&changes(round));
            killed_run(scene, "jdbc_load", point, *nth, &story);
        }
        Case::Merge(point, nth) => {
            scene.execute(&changes(round));
            flushed(scene, &story);
            killed_run(scene, "incremental_hudi", point, *nth, &story);
        }
        Case::Capture(point, nth) => {
            stop_capture(scene);
            let kill = format!("{point}:{nth}");
            // It may die before it has told its starter that it lives.
            let _ = scene
                .own(&["capture", "start"])
                .env("HEADWATER_KILL_AT", &kill)
                .output()
                .expect("it starts");
            scene.execute(&changes(round));
            wait_for(&format!("{story}: capture died"), || {
                (!capture_lives(scene)).then_some(())
            });
            start_capture(scene);
        }
    }
    scene.heal(&story);
    finish_what_failed(scene, &story);
    flushed(scene, &story);
    let merged = scene
        .own(&["run", "--pipeline", "incremental_hudi"])
        .output()
        .expect("it starts");
    assert!(merged.status.success(), "{story}: {}", said(&merged));
    whole(scene, &story);
}

/// Runs a pipeline that dies at a point: itself, its cluster, or its steps.
fn killed_run(scene: &Scene, pipeline: &str, point: &str, nth: usize, story: &str) {
    let list = scene.home().join("killed.points");
    let _ = std::fs::remove_file(&list);
    scene
        .own(&["run", "--pipeline", pipeline])
        .env("HEADWATER_KILL_AT", format!("{point}:{nth}"))
        .env("HEADWATER_KILL_LIST", &list)
        .output()
        .expect("it starts");
    let most = passings(&list).get(point).copied().unwrap_or_default();
    assert!(most >= nth, "{story}: the point was passed {most} times");
}

/// Resumes the last run when it did not succeed, until the chain has.
fn finish_what_failed(scene: &Scene, story: &str) {
    let runs = scene.runs();
    let Some(last) = runs.last() else { return };
    if last.outcome != Some(Outcome::Succeeded) {
        let resumed = scene
            .headwater(&["resume", &last.run_id])
            .output()
            .expect("it starts");
        assert!(resumed.status.success(), "{story}: {}", said(&resumed));
    }
}

/// What must hold whatever was killed.
fn whole(scene: &Scene, story: &str) {
    let reconciled = scene
        .own(&["reconcile", "--deep"])
        .output()
        .expect("it starts");
    assert!(
        reconciled.status.success(),
        "{story}: {}",
        said(&reconciled)
    );
    assert_eq!(
        scene.live_in_admission(),
        Vec::<String>::new(),
        "{story}: paths are locked"
    );
    let mails = scene.mails();
    for run in scene.runs() {
        assert!(
            run.outcome.is_some(),
            "{story}: `{}` has no outcome",
            run.run_id
        );
        assert!(
            mails.iter().any(|mail| mail.contains(&run.run_id)),
            "{story}: no mail of `{}`",
            run.run_id
        );
    }
    wait_for(&format!("{story}: no process left"), || {
        scene.processes().is_empty().then_some(())
    });
}

fn must(story: &str, command: &mut Command) {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{story}: {}", said(&output));
}

fn start_capture(scene: &Scene) {
    must("capture starts", &mut scene.own(&["capture", "start"]));
}

fn stop_capture(scene: &Scene) {
    must("capture stops", &mut scene.own(&["capture", "stop"]));
}

fn flushed(scene: &Scene, story: &str) {
    must(story, &mut scene.own(&["capture", "status", "--wait"]));
}

fn capture_lives(scene: &Scene) -> bool {
    let status = scene
        .own(&["capture", "status"])
        .output()
        .expect("it starts");
    status.status.success()
}
