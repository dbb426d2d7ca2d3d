//! Bad input, with the built programs on a real database: a clear error that names the thing, the other tables go on, and nothing half-done stays.

use crate::programs::{output, root};
use crate::scene::{Scene, Server, said};
use pipeline::outcome::Outcome;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

/// One server for all stories; each has its own database.
static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

const TABLES: &str = "
    CREATE TABLE account (id integer PRIMARY KEY, name text NOT NULL);
    CREATE TABLE entry (account_id integer, number integer, note text, PRIMARY KEY (account_id, number));
    INSERT INTO account SELECT i, 'account ' || i FROM generate_series(1, 50) i;
    INSERT INTO entry SELECT i % 5, i, 'entry ' || i FROM generate_series(1, 100) i;
";

fn pipeline(name: &str, pipeline: &str, next: Option<&str>) -> Value {
    let mut item = json!({
        "identifier": name, "config": format!("pipeline::system::{pipeline}"), "engine": "native", "notify": "all",
    });
    if let Some(next) = next {
        item["next_pipeline"] = json!({"pipeline_type": next, "enabled": true});
    }
    item
}

fn table(name: &str, table: &str, key: &str) -> Value {
    json!({
        "identifier": name, "config": format!("step::system::public.{table}"), "enabled": true,
        "hudi_config": {"primary_key": key, "watermark": "trx_seq", "is_partitioned": false},
    })
}

/// A database with `TABLES` and `more`, and items for these tables; `capture` says whether changes follow.
fn scene(name: &str, more: &str, tables: &[(&str, &str)], capture: bool) -> Scene<'static> {
    let mut items = vec![
        json!({"identifier": name, "config": "database::config", "secret": name, "target_db_name": name, "target_table_prefix": name}),
        pipeline(name, "jdbc_load", Some("seed_hudi")),
        pipeline(name, "seed_hudi", None),
    ];
    if capture {
        items.push(pipeline(name, "incremental_hudi", None));
    }
    items.extend(tables.iter().map(|(source, key)| table(name, source, key)));
    let scene = Scene::make(&SERVER, name, &format!("{TABLES}{more}"), &json!(items));
    if capture {
        output(&mut scene.own(&["capture", "start"]));
    }
    scene
}

const BOTH: [(&str, &str); 2] = [("account", "id"), ("entry", "account_id,number")];

fn run(scene: &Scene, pipeline: &str) -> Output {
    let mut command = scene.own(&["run", "--pipeline", pipeline]);
    command.output().expect("it starts")
}

/// Everything that is said of the last run.
fn shown(scene: &Scene) -> String {
    let last = scene.runs().pop().expect("there was a run");
    output(&mut scene.headwater(&["show", &last.run_id]))
}

fn outcome(scene: &Scene, pipeline: &str) -> Option<Outcome> {
    let runs = scene.runs();
    let run = runs.iter().rfind(|run| run.input.pipeline == pipeline);
    run.and_then(|run| run.outcome)
}

#[track_caller]
fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

fn secret_file(scene: &Scene) -> PathBuf {
    scene
        .home()
        .join("secrets")
        .join(format!("{}.json", scene.name))
}

fn change_secret(scene: &Scene, name: &str, value: Value) {
    let file = secret_file(scene);
    let text = std::fs::read_to_string(&file).expect("there is a secret");
    let mut secret: Value = serde_json::from_str(&text).expect("it is JSON");
    secret[name] = value;
    std::fs::write(&file, secret.to_string()).expect("it can be written");
}

#[test]
fn a_source_that_cannot_be_used_fails_the_run_and_shows_no_secret() {
    let scene = scene("unusable", "", &BOTH, false);
    let expect = |error: &str| {
        let ended = run(&scene, "jdbc_load");
        assert_eq!(ended.status.code(), Some(1), "{}", said(&ended));
        assert_eq!(outcome(&scene, "jdbc_load"), Some(Outcome::Failed));
        contains(&shown(&scene), &[error, "hint:"]);
    };
    change_secret(
        &scene,
        "password",
        json!("not the password, which stays secret"),
    );
    expect("WrongPassword");
    change_secret(&scene, "port", json!(1));
    expect("SourceUnreachable");
    std::fs::set_permissions(secret_file(&scene), std::fs::Permissions::from_mode(0o644))
        .expect("it is ours");
    expect("SecretExposed");
    std::fs::remove_file(secret_file(&scene)).expect("it was there");
    expect("SecretMissing");
    for mail in scene.mails() {
        assert!(!mail.contains("which stays secret"), "{mail}");
    }
    assert_eq!(
        outcome(&scene, "seed_hudi"),
        None,
        "nothing follows a failed load"
    );
    let loaded = scene.home().join("lake/bronze");
    assert!(!loaded.exists() || no_files(&loaded), "nothing half-done");
}

fn no_files(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .all(|path| path.is_dir() && no_files(&path))
}

#[test]
fn one_bad_table_is_one_bad_table() {
    let more = "
        CREATE TABLE twice (id integer, note text);
        INSERT INTO twice VALUES (1, 'a'), (2, 'b'), (1, 'c');
        CREATE TABLE odd (id integer PRIMARY KEY, tree pg_node_tree);
    ";
    let tables = [
        ("account", "id"),
        ("entry", "account_id,nubmer"),
        ("missing", "id"),
        ("odd", "id"),
        ("twice", "id"),
    ];
    let scene = scene("one_bad", more, &tables, false);
    let loaded = run(&scene, "jdbc_load");
    assert_eq!(loaded.status.code(), Some(1), "{}", said(&loaded));
    assert_eq!(outcome(&scene, "jdbc_load"), Some(Outcome::Partial));
    contains(
        &shown(&scene),
        &[
            "TableMissing",
            "public.missing",
            "TypeUnsupported",
            "`tree`",
            "pg_node_tree",
        ],
    );
    let seeded = run(&scene, "seed_hudi");
    assert_eq!(seeded.status.code(), Some(1), "{}", said(&seeded));
    assert_eq!(outcome(&scene, "seed_hudi"), Some(Outcome::Partial));
    contains(&shown(&scene), &["DuplicateKeys", "`1` (2 rows)", "nubmer"]);
    let silver = scene.home().join("lake/silver/one_bad");
    assert!(
        silver
            .join("one_bad_public_account/_published.json")
            .exists()
    );
    for bad in ["twice", "entry"] {
        let published = silver.join(format!("one_bad_public_{bad}/_published.json"));
        assert!(!published.exists(), "{bad}");
    }
}

#[test]
fn a_corrupt_change_file_is_named_and_the_other_tables_go_on() {
    let scene = scene("corrupt", "", &BOTH, true);
    let chain = run(&scene, "jdbc_load");
    assert!(chain.status.success(), "{}", said(&chain));
    scene.execute("UPDATE account SET name = 'new'; UPDATE entry SET note = 'new';");
    output(&mut scene.own(&["capture", "status", "--wait"]));
    let changes = scene
        .home()
        .join("lake/bronze/corrupt/incremental/corrupt/public/account");
    let file = newest_file(&changes);
    let bytes = std::fs::read(&file).expect("it is there");
    std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("it can be written");
    let merged = run(&scene, "incremental_hudi");
    assert_eq!(merged.status.code(), Some(1), "{}", said(&merged));
    assert_eq!(outcome(&scene, "incremental_hudi"), Some(Outcome::Partial));
    let name = file
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    contains(&shown(&scene), &["ChangeFileUnreadable", &name]);
    // Nothing of it was applied, so that nothing is lost once it is whole again.
    std::fs::write(&file, &bytes).expect("it can be written");
    let merged = run(&scene, "incremental_hudi");
    assert!(merged.status.success(), "{}", said(&merged));
    output(&mut scene.own(&["reconcile", "--deep"]));
}

fn newest_file(folder: &Path) -> PathBuf {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "parquet") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, &mut found);
    found.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
    found.pop().expect("a change file")
}

#[test]
fn reconcile_names_a_changed_value_a_lost_change_file_and_a_duplicated_row() {
    let scene = scene("tampered", "", &BOTH, true);
    let chain = run(&scene, "jdbc_load");
    assert!(chain.status.success(), "{}", said(&chain));
    scene.execute("UPDATE entry SET note = 'lost' WHERE number = 7; INSERT INTO entry VALUES (1, 1001, 'lost too');");
    output(&mut scene.own(&["capture", "status", "--wait"]));
    let changes = scene
        .home()
        .join("lake/bronze/tampered/incremental/tampered/public/entry");
    std::fs::remove_file(newest_file(&changes)).expect("it was there");
    let merged = run(&scene, "incremental_hudi");
    assert!(merged.status.success(), "{}", said(&merged));
    tamper(
        &scene
            .home()
            .join("lake/silver/tampered/tampered_public_account"),
    );

    let reconciled = scene
        .own(&["reconcile", "--deep", "--json"])
        .output()
        .expect("it starts");
    assert_eq!(reconciled.status.code(), Some(1), "{}", said(&reconciled));
    let report: Value = serde_json::from_slice(&reconciled.stdout).expect("it is JSON");
    let of = |name: &str| -> Vec<(String, String)> {
        let tables = report["tables"].as_array().expect("tables");
        let table = tables
            .iter()
            .find(|table| table["name"] == name)
            .expect("the table is told");
        assert_eq!(table["status"], "different", "{table}");
        let differences = table["differences"].as_array().expect("differences");
        let mut found: Vec<(String, String)> = differences
            .iter()
            .map(|difference| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                (text(&difference["kind"]), difference["key"].to_string())
            })
            .collect();
        found.sort();
        found
    };
    let pair = |kind: &str, key: Value| (kind.to_owned(), key.to_string());
    assert_eq!(
        of("public.account"),
        [
            pair("different", json!({"id": "3"})),
            pair("duplicated", json!({"id": "5"}))
        ]
    );
    assert_eq!(
        of("public.entry"),
        [
            pair("different", json!({"account_id": "2", "number": "7"})),
            pair("missing", json!({"account_id": "1", "number": "1001"})),
        ]
    );
}

/// Changes the name of account 3 and doubles account 5 in the newest base file of the published generation.
fn tamper(table: &Path) {
    const SCRIPT: &str = "
import json, pathlib, sys
import pyarrow as pa, pyarrow.compute as pc, pyarrow.parquet as pq
table = pathlib.Path(sys.argv[1])
generation = table / json.loads((table / '_published.json').read_text())['generation']
file = max((path for path in generation.glob('*.parquet')), key=lambda path: path.stat().st_mtime_ns)
rows = pq.read_table(file)
names = pc.if_else(pc.equal(rows['id'], 3), 'tampered', rows['name'])
rows = rows.set_column(rows.schema.get_field_index('name'), rows.schema.field('name'), pc.cast(names, rows.schema.field('name').type))
rows = pa.concat_tables([rows, rows.filter(pc.equal(rows['id'], 5))])
pq.write_table(rows, file)
";
    let python = root().join(".tools/venv/bin/python3");
    output(Command::new(python).args(["-c", SCRIPT]).arg(table));
}

#[test]
fn what_a_command_does_not_know_is_said_at_once_and_starts_nothing() {
    let scene = scene("unknown", "", &BOTH, false);
    for (arguments, parts) in [
        (
            &["run", "--identifier", "unknwon", "--pipeline", "jdbc_load"][..],
            &["unknwon", "unknown"][..],
        ),
        (
            &["run", "--identifier", "unknown", "--pipeline", "jdbc_laod"],
            &["jdbc_laod", "jdbc_load"],
        ),
        (
            &[
                "run",
                "--identifier",
                "unknown",
                "--pipeline",
                "jdbc_load",
                "--table",
                "public.acount",
            ],
            &["public.acount", "public.account"],
        ),
        (
            &[
                "run",
                "--identifier",
                "unknown",
                "--pipeline",
                "jdbc_load",
                "--tabel",
                "x",
            ],
            &["--tabel", "--table"],
        ),
        (&["rnu"], &["rnu", "run"]),
    ] {
        let ended = scene.headwater(arguments).output().expect("it starts");
        assert_eq!(
            ended.status.code(),
            Some(2),
            "{arguments:?}: {}",
            said(&ended)
        );
        contains(&said(&ended), parts);
    }
    assert!(scene.runs().is_empty());
}

#[test]
fn items_with_mistakes_are_not_imported_and_all_mistakes_are_told() {
    let scene = scene("mistaken", "", &BOTH, false);
    let before = output(&mut scene.headwater(&["export"]));
    let bad = json!([
        {"identifier": "mistaken", "config": "database::config", "secret": "s", "target_db_name": "d"},
        {"identifier": "mistaken", "config": "pipeline::system::jdbc_load", "next_pipeline": {"pipeline_type": "seed_hudi", "enabled": true}},
        {"identifier": "mistaken", "config": "pipeline::system::seed_hudi", "next_pipeline": {"pipeline_type": "jdbc_load", "enabled": true}},
        {"identifier": "mistaken", "config": "step::system::public.account", "enabled": "perhaps", "hudi_cofnig": {}},
    ]);
    let file = scene.home().join("bad.json");
    std::fs::write(&file, bad.to_string()).expect("it can be written");
    let path = file.to_string_lossy();
    let ended = scene
        .headwater(&["import", &path])
        .output()
        .expect("it starts");
    assert_eq!(ended.status.code(), Some(1), "{}", said(&ended));
    contains(
        &said(&ended),
        &[
            "target_table_prefix",
            "perhaps",
            "hudi_cofnig",
            "hudi_config",
            "jdbc_load",
            "seed_hudi",
        ],
    );
    assert_eq!(output(&mut scene.headwater(&["export"])), before);
}

#[test]
fn a_full_disk_fails_the_table_by_name_and_the_next_run_finds_nothing_in_its_way() {
    // A small file system in a name space of its own; some systems let only root have one.
    let mount = "mount -t tmpfs -o size=2m tmpfs \"$0\"";
    let small = |folder: &Path, then: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c"]);
        command.arg(format!("{mount} && {then}")).arg(folder);
        command
    };
    let scene = scene(
        "filled",
        "CREATE TABLE big (id integer PRIMARY KEY, note text);
         INSERT INTO big SELECT i, md5(i::text) || md5((-i)::text) FROM generate_series(1, 100000) i;",
        &[("account", "id"), ("big", "id")],
        false,
    );
    let zone = scene
        .home()
        .join("lake/bronze/filled/full/filled/public/big");
    std::fs::create_dir_all(&zone).expect("it can be made");
    let allowed = small(&zone, "true").output().expect("util-linux is there");
    if !allowed.status.success() {
        println!("no full disk on this system: {}", said(&allowed));
        return;
    }
    let headwater = crate::programs::program("headwater");
    let loaded = small(&zone, "exec \"$@\"")
        .arg(headwater)
        .args([
            "run",
            "--no-chain",
            "--identifier",
            "filled",
            "--pipeline",
            "jdbc_load",
        ])
        .env("HEADWATER_HOME", scene.home())
        .output()
        .expect("it starts");
    assert_eq!(loaded.status.code(), Some(1), "{}", said(&loaded));
    assert_eq!(
        outcome(&scene, "jdbc_load"),
        Some(Outcome::Partial),
        "{}",
        said(&loaded)
    );
    contains(&shown(&scene), &["DiskFull", "public/big"]);
    let again = run(&scene, "jdbc_load");
    assert!(again.status.success(), "{}", said(&again));
    assert_eq!(outcome(&scene, "seed_hudi"), Some(Outcome::Succeeded));
}
