//! The load of the spark engine, with a program in the place of spark-submit that writes what a native load of the same table wrote.

use super::*;
use crate::load::spark;
use crate::spark::Submit;
use pipeline::plan::JdbcLoad;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const TABLE: &str =
    "CREATE TABLE t (id int PRIMARY KEY, \"A b\" text, day date, price numeric(5,2));
    INSERT INTO t VALUES (1, 'x', '2026-11-24', 1.5), (2, NULL, 'infinity', 'NaN'); ANALYZE t";

/// What it was given goes to the folder `told`; what it does comes before, and `$output` is the folder of the load.
const PROGRAM: &str = r#"#!/bin/sh
here=$(dirname "$0")
printf '%s\n' "$@" >"$here/told"
while [ $# -gt 0 ]; do
    case $1 in
        --output) output=${2#file://} ;;
        --reading) cp "$2" "$here/reading" ;;
    esac
    shift
done
"#;

struct Program {
    folder: TempDir,
}

impl Program {
    fn doing(what: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("spark-submit");
        fs::write(&path, format!("{PROGRAM}{what}\n")).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("rights");
        Self { folder }
    }

    /// Puts these files there, and what Spark leaves beside them.
    fn copying(from: &Path) -> Self {
        Self::doing(&format!(
            "cp '{}'/*.parquet \"$output\" && touch \"$output/_SUCCESS\"",
            from.display()
        ))
    }

    fn arguments(&self) -> Vec<String> {
        let program = self.folder.path().join("spark-submit");
        let program = program.display().to_string();
        [
            program.as_str(),
            "jdbc_load.py",
            "--secret-file",
            "{secret_file}",
            "--reading",
            "{reading}",
            "--trx-seq",
            "{t0}",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).expect("the program was run")
    }
}

async fn load_by(
    scene: &Scene,
    program: &Program,
    run_id: &str,
    guard: &impl Guard,
) -> Result<StepReport, Failure> {
    let table = Scene::table("t");
    let load = JdbcLoad {
        load: Load {
            source: table.clone(),
            loads: scene.plan.zones.loads(&scene.plan.source.db, &table),
            parallelism: 2,
            changes_follow: false,
        },
        relation: None,
        options: BTreeMap::new(),
    };
    let secrets = scene.secrets();
    let job = Job {
        run_id,
        plan: &scene.plan,
        secrets: Secrets::Folder(&secrets),
    };
    let mut arguments = program.arguments();
    arguments.extend([
        "--output".to_owned(),
        format!("{}/run={{run_id}}", load.load.loads),
    ]);
    let mut submit = Submit::new(&job, &arguments);
    submit.look = Duration::from_millis(5);
    spark::run_within(scene.limits, &submit, &load, guard, &Silent).await
}

/// A scene whose table was loaded by the native engine, and the folder of that load.
async fn loaded() -> (Scene, PathBuf) {
    let scene = Scene::new(TABLE).await;
    scene.load("n", "t").await.expect("a native load");
    let folder = scene.loads(&Scene::table("t")).join("run=n");
    (scene, folder)
}

#[tokio::test]
async fn what_spark_wrote_becomes_a_load_when_it_is_what_the_snapshot_holds() {
    let (scene, native) = loaded().await;
    let program = Program::copying(&native);
    let report = load_by(&scene, &program, "s", &Free).await.expect("a load");
    assert_eq!(report.rows, 2);
    let nulled = BTreeMap::from([("day".to_owned(), 1), ("price".to_owned(), 1)]);
    assert_eq!(report.nulled, nulled);

    let table = Scene::table("t");
    let (manifest, twin) = (scene.manifest("s", &table), scene.manifest("n", &table));
    assert_eq!((manifest.rows, manifest.bytes), (2, twin.bytes));
    assert_eq!(manifest.files, twin.files);
    assert_eq!(manifest.columns, twin.columns);
    assert_eq!(manifest.nulled, nulled);
    assert_eq!(manifest.primary_key, ["id"]);

    let told = program.read("told");
    assert!(told.contains(manifest.t0.as_str()), "{told}");
    let secret = scene.secrets().join("shop.json");
    assert!(told.contains(&secret.display().to_string()), "{told}");
    assert!(!told.contains(&scene.database.secret.password), "{told}");
    let reading: serde_json::Value = serde_json::from_str(&program.read("reading")).expect("JSON");
    let session = reading["session"].as_str().expect("a session");
    assert!(session.contains("SET TRANSACTION SNAPSHOT '0"), "{session}");
    assert_eq!(reading["columns"][2]["as"], "date");
    assert_eq!(reading["predicates"], serde_json::json!(["true"]));

    let again = Program::doing("exit 1");
    let again = load_by(&scene, &again, "s", &Free).await.expect("the same");
    assert_eq!(
        again.notes,
        ["an earlier attempt of this run had loaded it"]
    );
}

#[tokio::test]
async fn what_spark_wrote_otherwise_is_no_load() {
    let (scene, native) = loaded().await;
    scene
        .sql("CREATE TABLE other (id int, \"A b\" text, day timestamp, price numeric(5,2)); INSERT INTO other VALUES (1), (2)")
        .await;
    scene.load("o", "other").await.expect("a native load");
    let other = scene.loads(&Scene::table("other")).join("run=o");
    let twice = format!(
        "for n in 1 2; do for f in '{}'/*.parquet; do cp \"$f\" \"$output/$n-$(basename \"$f\")\"; done; done",
        native.display()
    );
    for (program, error, told) in [
        (Program::doing(&twice), "RowsDiffer", "4 read"),
        (
            Program::copying(&other),
            "ColumnsDiffer",
            "`day` is Timestamp",
        ),
        (Program::doing(":"), "ColumnsDiffer", "no Parquet file"),
        (
            Program::doing(
                "echo half >\"$output/part-0.parquet\"; echo 'org.postgresql: no'; echo '26/11/24 19:15:26 INFO Hook: x' >&2; exit 1",
            ),
            "ProgramFailed",
            "`spark-submit` failed: exit status 1",
        ),
        (
            Program::doing("kill -9 $$"),
            "ProgramFailed",
            "killed by signal 9",
        ),
    ] {
        let failure = load_by(&scene, &program, "s", &Free).await;
        let failure = failure.expect_err("no load");
        assert_eq!(failure.error, error, "{failure:?}");
        assert!(failure.message.contains(told), "{failure}");
        assert!(scene.files("s", &Scene::table("t")).is_empty());
        if failure.message.ends_with("exit status 1") {
            assert_eq!(failure.causes, ["org.postgresql: no"]);
        }
    }
    let whole = Program::copying(&native);
    load_by(&scene, &whole, "s", &Free).await.expect("a load");
}

/// Lets the program begin, and says then that the run was cancelled.
struct CancelledAfter(std::cell::Cell<u32>);

impl Guard for CancelledAfter {
    async fn may_commit(&self) -> Result<(), Failure> {
        match self.0.get() {
            0 => Err(Failure::new("Cancelled", "run `s` was cancelled")),
            left => {
                self.0.set(left - 1);
                Ok(())
            }
        }
    }
}

#[tokio::test]
async fn a_cancelled_load_ends_spark_and_leaves_nothing() {
    let (scene, _) = loaded().await;
    let program = Program::doing("echo half >\"$output/part-0.parquet\"; exec sleep 600");
    let cancelled = CancelledAfter(std::cell::Cell::new(3));
    let failure = load_by(&scene, &program, "s", &cancelled).await;
    assert_eq!(failure.expect_err("cancelled").error, "Cancelled");
    assert!(scene.files("s", &Scene::table("t")).is_empty());
}
