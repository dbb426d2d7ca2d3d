//! What people type about runs: what they read, and with which code each command ends.

mod scene;

use scene::{IDENTIFIER, KEYLESS, Scene, end_of, processes, said, stderr, stdout, wait_for};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

/// Not a story: what the played worker of the others is.
#[test]
fn worker_process() {
    scene::play_worker();
}

fn output(command: &mut Command) -> Output {
    command.output().expect("it starts")
}

fn ends(code: i32, output: &Output) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    ends(0, &output(Command::new("kill").args([name, &id])));
}

#[test]
fn what_does_not_exist_is_refused_by_name_before_anything_starts() {
    let scene = Scene::with_tables(&["public.account", KEYLESS]);
    let run = |identifier, pipeline, more: &[&'static str]| {
        [
            &["run", "--identifier", identifier, "--pipeline", pipeline],
            more,
        ]
        .concat()
    };
    let cases = [
        (
            run("shp", "jdbc_load", &[]),
            "there is no identifier `shp`\nhint: did you mean `shop`?",
        ),
        (
            run("shop", "jdbc_laod", &[]),
            "`shop` has no pipeline `jdbc_laod`\nhint: did you mean `jdbc_load`?",
        ),
        (
            run("shop", "jdbc_load", &["--table", "public.acount"]),
            "`jdbc_load` has no table `public.acount`\nhint: did you mean `public.account`?",
        ),
        (
            run("shop", "jdbc_load", &["--table", "public.off"]),
            "`public.off` is disabled",
        ),
        (
            vec!["reload", "--identifier", "shop", "public.off"],
            "`public.off` is disabled",
        ),
        (
            vec!["reload", "--identifier", "shop", KEYLESS],
            "`seed_hudi` does not do `public.keyless`: ",
        ),
        (vec!["resume", "last"], "there are no runs yet"),
        (vec!["show", "shop-jdbc"], "there is no run `shop-jdbc`"),
        (vec!["cancel", "x"], "there is no run `x`"),
        (
            vec!["logs", "last", "--follow", "--json"],
            "`--follow` writes text",
        ),
        (vec!["run", "--identifier", "shop"], "--pipeline"),
    ];
    for (arguments, message) in cases {
        let refused = output(&mut scene.headwater(&arguments));
        ends(2, &refused);
        assert!(
            stderr(&refused).contains(message),
            "{arguments:?}: {}",
            said(&refused)
        );
        assert_eq!(stdout(&refused), "", "{arguments:?}");
    }
    assert_eq!(scene.runs(), Vec::<Value>::new());
}

#[test]
fn a_missing_worker_is_named_with_what_helps() {
    let scene = Scene::with_tables(&[]);
    for arguments in [
        &["capture", "status", "--identifier", IDENTIFIER][..],
        &["reconcile", "--identifier", IDENTIFIER, "--deep"],
    ] {
        let failed = output(
            scene
                .headwater(arguments)
                .env("HEADWATER_WORKER", "/nowhere/worker"),
        );
        ends(1, &failed);
        assert!(
            stderr(&failed).contains("error: `/nowhere/worker` cannot be started"),
            "{}",
            said(&failed)
        );
        assert!(
            stderr(&failed).contains("hint: `make build`"),
            "{}",
            said(&failed)
        );
    }
}

#[test]
fn the_worker_is_told_what_was_typed() {
    let scene = Scene::with_tables(&[]);
    let home = scene
        .home()
        .canonicalize()
        .expect("it is there")
        .display()
        .to_string();
    let cases = [
        (
            vec!["capture", "start", "--identifier", "shop"],
            format!("capture start --identifier shop --home {home}\n"),
        ),
        (
            vec![
                "--json",
                "capture",
                "status",
                "--identifier",
                "shop",
                "--wait",
            ],
            format!("capture status --identifier shop --wait --home {home} --json\n"),
        ),
        (
            vec![
                "reconcile",
                "--identifier",
                "shop",
                "--table",
                "a.b",
                "--table",
                "a.c",
                "--deep",
                "--wait-seconds",
                "9",
            ],
            format!(
                "reconcile --identifier shop --table a.b --table a.c --deep --wait-seconds 9 --home {home}\n"
            ),
        ),
    ];
    for (arguments, told) in cases {
        let echoed = output(
            scene
                .headwater(&arguments)
                .env("HEADWATER_WORKER", "/bin/echo"),
        );
        ends(0, &echoed);
        assert_eq!(stdout(&echoed), told);
    }
}

#[test]
fn with_nothing_to_do_a_chain_succeeds() {
    let scene = Scene::with_tables(&[]);
    let ran = output(&mut scene.load(&[]));
    ends(0, &ran);
    let lines = stdout(&ran);
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 2, "{}", said(&ran));
    for (line, pipeline) in lines.iter().zip(["jdbc_load", "seed_hudi"]) {
        assert!(line.starts_with(&format!("shop-{pipeline}-")), "{line}");
        assert!(line.contains(": SUCCEEDED, nothing to do, "), "{line}");
    }
    let alone = scene.json(&[
        "run",
        "--identifier",
        IDENTIFIER,
        "--pipeline",
        "jdbc_load",
        "--no-chain",
    ]);
    assert_eq!(alone.as_array().map(Vec::len), Some(1));
    assert_eq!(alone[0]["outcome"], "SUCCEEDED");
    let listed: Vec<String> = scene
        .runs()
        .iter()
        .map(|run| run["run_id"].to_string())
        .collect();
    assert_eq!(listed.len(), 3);
    assert_eq!(listed[2], alone[0]["run_id"].to_string());
}

#[test]
fn a_broken_table_is_shown_with_its_cause_and_a_resume_does_only_what_is_left() {
    let scene = Scene::with_tables(&["public.account", "public.broken"]);
    let ran = output(&mut scene.load(&[]));
    ends(1, &ran);
    assert!(
        stdout(&ran).contains(": PARTIAL, 1 table, 100 rows, 1 failed, "),
        "{}",
        said(&ran)
    );
    let told = stderr(&ran);
    assert!(told.contains("jdbc_load: 2 tables\n"), "{told}");
    assert!(
        told.contains(
            "jdbc_load: public.account: 100 rows, 60 inserted, 30 updated, 10 deleted in "
        ),
        "{told}"
    );
    assert!(
        told.contains(": DuplicateKeys: `public.broken` has two rows of one key"),
        "{told}"
    );

    let shown = scene.json(&["show", "last"]);
    assert_eq!(shown["outcome"], "PARTIAL");
    assert_eq!(shown["disabled"], json!(["public.off"]));
    let [account, broken] = shown["tables"].as_array().expect("tables").as_slice() else {
        panic!("{shown:#}");
    };
    assert_eq!(
        (&account["inserted"], &account["deleted"]),
        (&json!(60), &json!(10))
    );
    assert_eq!(broken["root_cause"], json!(["key 7 is there twice"]));
    assert_eq!(shown.to_string().matches("\"inserted\"").count(), 1);
    let text = stdout(&output(&mut scene.headwater(&["show", "last"])));
    for part in [
        "outcome:    PARTIAL",
        "key 7 is there twice",
        "hint: mend the source",
        "CheckStatus",
        "disabled: public.off",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let listed = stdout(&output(&mut scene.headwater(&["runs"])));
    assert!(
        listed
            .lines()
            .next()
            .is_some_and(|titles| titles.starts_with("run  ")),
        "{listed}"
    );
    assert!(listed.contains("PARTIAL"), "{listed}");

    let logs = stdout(&output(&mut scene.headwater(&["logs", "last"])));
    let first = |text: &str| logs.find(text).unwrap_or_else(|| panic!("{text}: {logs}"));
    assert!(
        first("public.account begins") < first("public.broken is broken"),
        "failed steps last"
    );
    first("==> public.broken, attempt 1, FAILED: stderr <==");
    let one = scene.json(&["logs", "last", "--table", "public.account"]);
    assert_eq!(one.as_array().map(Vec::len), Some(2));
    ends(
        2,
        &output(&mut scene.headwater(&["logs", "last", "--table", "public.other"])),
    );

    scene.put("mended");
    scene.configure(&["public.account", "public.broken"], 90);
    let resumed = output(&mut scene.headwater(&["resume", "last"]));
    let told = stderr(&resumed);
    assert!(
        told.contains("policy.timeout_minutes: 90 instead of 60"),
        "{told}"
    );
    assert!(told.contains("left to do: public.broken\n"), "{told}");
    ends(0, &resumed);
    let again = output(&mut scene.headwater(&["resume", shown["run_id"].as_str().expect("an id")]));
    ends(2, &again);
    assert!(stderr(&again).contains("has succeeded"), "{}", said(&again));
}

#[test]
fn a_second_run_waits_says_so_and_follows_the_first() {
    let scene = Scene::with_tables(&["public.held"]);
    let first = scene.start(&mut scene.load(&["--no-chain"]));
    scene.wait_until_held();
    let second = scene.start(&mut scene.load(&["--no-chain"]));
    wait_for("the second run waits", || {
        let runs = scene.runs();
        (runs.len() == 2 && runs[1]["status"] == "QUEUED").then_some(())
    });
    let third = output(&mut scene.load(&["--no-chain"]));
    ends(1, &third);
    assert!(
        stdout(&third).contains(": SKIPPED, ") && stdout(&third).contains(": Merged: run `"),
        "{}",
        said(&third)
    );
    let running = scene.json(&["show", scene.runs()[0]["run_id"].as_str().expect("an id")]);
    assert_eq!(running["tables"][0]["state"], "running");
    assert_eq!(running["tables"][0]["rows"], 40);
    assert_eq!(running["tables"][0]["expected"], 100);
    scene.put("let go");
    for (child, waited) in [(first, false), (second, true)] {
        let ended = end_of(child);
        ends(0, &ended);
        assert_eq!(
            stderr(&ended).contains("waits to be admitted: before it is run `shop-jdbc_load-"),
            waited,
            "{}",
            said(&ended)
        );
    }
}

#[test]
fn a_cancelled_run_ends_aborted_in_both_terminals() {
    let scene = Scene::with_tables(&["public.held"]);
    let run = scene.start(&mut scene.load(&[]));
    scene.wait_until_held();
    let cancelled = output(&mut scene.headwater(&["cancel", "last"]));
    ends(0, &cancelled);
    assert!(
        stdout(&cancelled).contains(": ABORTED, "),
        "{}",
        said(&cancelled)
    );
    let ended = end_of(run);
    ends(1, &ended);
    assert!(
        stdout(&ended).contains(": Cancelled: the run was cancelled"),
        "{}",
        said(&ended)
    );
    let late = output(&mut scene.headwater(&["cancel", "last"]));
    ends(0, &late);
    assert!(
        stderr(&late).contains("is past cancelling"),
        "{}",
        said(&late)
    );
    assert_eq!(scene.runs().len(), 1, "nothing follows");
}

#[test]
fn the_first_interrupt_cancels_and_waits() {
    let scene = Scene::with_tables(&["public.held"]);
    let run = scene.start(&mut scene.load(&[]));
    scene.wait_until_held();
    signal(&run, "-INT");
    let ended = end_of(run);
    ends(1, &ended);
    assert!(stderr(&ended).contains("cancelling"), "{}", said(&ended));
    assert!(stdout(&ended).contains(": ABORTED, "), "{}", said(&ended));
}

#[test]
fn a_second_interrupt_leaves_the_cancel_to_the_background() {
    let scene = Scene::with_tables(&["public.held"]);
    // It takes the supervisor some seconds to end such a worker.
    scene.put("deaf");
    let mut run = scene.start(&mut scene.load(&[]));
    scene.wait_until_held();
    signal(&run, "-INT");
    let mut lines = BufReader::new(run.stderr.take().expect("piped")).lines();
    let mut line = || lines.next().expect("a line").expect("text");
    while !line().starts_with("cancelling") {}
    signal(&run, "-INT");
    while !line().ends_with("goes on in the background") {}
    ends(1, &end_of(run));
    wait_for("the run is cancelled", || {
        (scene.runs()[0]["outcome"] == "ABORTED").then_some(())
    });
}

#[test]
fn a_run_goes_on_when_its_terminal_closes_and_when_it_is_killed() {
    for name in ["-HUP", "-KILL"] {
        let scene = Scene::with_tables(&["public.held"]);
        let run = scene.start(&mut scene.load(&["--no-chain"]));
        scene.wait_until_held();
        signal(&run, name);
        let ended = end_of(run);
        assert_ne!(ended.status.code(), Some(0), "{name}");
        scene.put("let go");
        // Any command sweeps first.
        wait_for(&format!("the run succeeds after {name}"), || {
            (scene.runs()[0]["outcome"] == "SUCCEEDED").then_some(())
        });
        wait_for(&format!("nothing is left after {name}"), || {
            processes(&scene.home()).is_empty().then_some(())
        });
    }
}

#[test]
fn a_driver_killed_between_any_two_states_is_followed_by_the_next_command() {
    // With nothing to do there is no cluster, whose supervisor would sweep too.
    let scene = Scene::with_tables(&[]);
    let list = scene.home().join("points");
    let clean = output(scene.load(&[]).env("HEADWATER_KILL_LIST", &list));
    ends(0, &clean);
    let points = std::fs::read_to_string(&list).expect("written");
    let saves = points
        .lines()
        .filter(|line| line.ends_with(AFTER_SAVE))
        .count();
    assert!(saves > 10, "{points}");
    std::thread::scope(|scope| {
        for nth in (1..=saves).step_by(2) {
            scope.spawn(move || killed_at(nth));
        }
    });
}

const AFTER_SAVE: &str = "runner.after.save";

/// Kills the driver of a chain of two runs, and sees another command take both to their end.
fn killed_at(nth: usize) {
    let scene = Scene::with_tables(&[]);
    let killed = output(
        scene
            .load(&[])
            .env("HEADWATER_KILL_AT", format!("{AFTER_SAVE}:{nth}")),
    );
    assert_eq!(killed.status.code(), None, "{nth}: {}", said(&killed));
    let runs = wait_for(&format!("both runs end after a kill at {nth}"), || {
        let runs = scene.runs();
        let ended = runs.iter().filter(|run| run["status"] == "ENDED").count();
        (ended == 2).then_some(runs)
    });
    for run in runs {
        assert_eq!(run["outcome"], "SUCCEEDED", "{nth}: {run:#}");
    }
}

#[test]
fn a_run_that_waits_takes_a_killed_one_before_it_to_its_end() {
    let scene = Scene::with_tables(&["public.held"]);
    let first = scene.start(&mut scene.load(&["--no-chain"]));
    scene.wait_until_held();
    let supervisor_and_step: Vec<String> = processes(&scene.home());
    let second = scene.start(&mut scene.load(&["--no-chain"]));
    wait_for("the second run waits", || {
        let runs = scene.runs();
        (runs.len() == 2 && runs[1]["status"] == "QUEUED").then_some(())
    });
    for id in supervisor_and_step {
        let _ = output(Command::new("kill").args(["-KILL", &id]));
    }
    assert_eq!(end_of(first).status.code(), None);
    scene.put("let go");
    ends(0, &end_of(second));
    let local = scene.local();
    let first = &local.executions_without_driver().expect("read");
    assert_eq!(first, &Vec::<String>::new());
    assert_eq!(scene.runs()[0]["status"], "ENDED");
}

#[test]
fn a_sweep_says_what_it_repaired() {
    let scene = Scene::with_tables(&[]);
    let point = format!("{AFTER_SAVE}:3");
    let killed = output(scene.load(&["--no-chain"]).env("HEADWATER_KILL_AT", point));
    assert_eq!(killed.status.code(), None, "{}", said(&killed));
    // The next command sees it, however soon it comes.
    let swept = scene.json(&["sweep"]);
    let resumed = swept["resumed"][0].clone();
    wait_for("the run ends", || {
        let runs = scene.runs();
        (runs.len() == 1 && runs[0]["outcome"] == "SUCCEEDED").then(|| {
            assert_eq!(runs[0]["run_id"], resumed);
        })
    });
    let idle = output(&mut scene.headwater(&["sweep"]));
    ends(0, &idle);
    assert_eq!(stdout(&idle), "");
    assert!(
        stderr(&idle).contains("nothing to repair"),
        "{}",
        said(&idle)
    );
}

#[test]
fn a_detached_run_is_followed_by_its_logs_and_its_key_starts_it_once() {
    let scene = Scene::with_tables(&["public.held"]);
    let detached = output(&mut scene.load(&["--detach", "--key", "monday", "--no-chain"]));
    ends(0, &detached);
    let run_id = stdout(&detached).trim().to_owned();
    scene.wait_until_held();
    let follower = scene.start(&mut scene.headwater(&["logs", &run_id, "--follow"]));
    let again = scene.start(&mut scene.load(&["--key", "monday", "--no-chain"]));
    scene.put("let go");
    let followed = end_of(follower);
    ends(0, &followed);
    assert!(
        stdout(&followed).contains("public.held begins"),
        "{}",
        said(&followed)
    );
    let again = end_of(again);
    ends(0, &again);
    assert!(
        stderr(&again).contains("was started before with this key"),
        "{}",
        said(&again)
    );
    assert!(
        stdout(&again).starts_with(&format!("{run_id}: SUCCEEDED, 1 table, 100 rows, ")),
        "{}",
        said(&again)
    );
    assert_eq!(scene.runs().len(), 1);
    let hash = run_id.rsplit('-').next().expect("an id has parts");
    assert_eq!(scene.json(&["show", &hash[..6]])["run_id"], json!(run_id));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let scene = Scene::with_tables(&[]);
    ends(0, &output(&mut scene.load(&[])));
    for arguments in [&["runs"][..], &["show", "last", "--json"], &["sweep"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = scene.headwater(arguments);
        let child = command
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let ended = end_of(child);
        ends(0, &ended);
        assert!(!stderr(&ended).contains("error"), "{}", said(&ended));
    }
}
