//! What one run leaves, what a crash left, and which loads stay.

use super::*;
use arrow::array::AsArray;
use arrow::datatypes::Int32Type;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, name text);
    INSERT INTO t SELECT n, 'name ' || n FROM generate_series(1, 20000) AS n; ANALYZE t";

#[tokio::test]
async fn a_load_has_every_row_of_its_snapshot_once_and_our_columns_around() {
    let scene = Scene::new(TABLE).await;
    let table = Scene::table("t");
    let meanwhile = AfterSnapshot {
        database: &scene.database,
        sql: "INSERT INTO public.t SELECT n, 'later' FROM generate_series(20001, 30000) AS n;
              DELETE FROM public.t WHERE id <= 10; UPDATE public.t SET name = 'later' WHERE id % 7 = 0",
    };
    let report = scene
        .load_watched("a", &table, &Free, &meanwhile)
        .await
        .expect("a load");
    assert_eq!(report.rows, 20_000);

    let rows = scene.rows("a", &table);
    let names: Vec<String> = rows
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(names, ["Op", "id", "name", "trx_seq", "_hoodie_is_deleted"]);
    assert!(
        rows.schema()
            .fields()
            .iter()
            .all(|field| field.is_nullable())
    );
    let mut ids: Vec<i32> = rows["id"].as_primitive::<Int32Type>().values().to_vec();
    ids.sort_unstable();
    assert_eq!(ids, (1..=20_000).collect::<Vec<i32>>());
    for (id, name) in rows["id"]
        .as_primitive::<Int32Type>()
        .values()
        .iter()
        .zip(rows["name"].as_string::<i32>())
    {
        assert_eq!(name, Some(format!("name {id}").as_str()));
    }
    let manifest = scene.manifest("a", &table);
    assert!(
        rows["Op"]
            .as_string::<i32>()
            .iter()
            .all(|op| op == Some("I"))
    );
    assert!(
        rows["trx_seq"]
            .as_string::<i32>()
            .iter()
            .all(|seq| seq == Some(manifest.t0.as_str()))
    );
    assert!(
        rows["_hoodie_is_deleted"]
            .as_boolean()
            .iter()
            .all(|deleted| deleted == Some(false))
    );

    assert_eq!((manifest.rows, manifest.bytes), (report.rows, report.bytes));
    assert_eq!(
        manifest.files.iter().map(|file| file.rows).sum::<u64>(),
        20_000
    );
    assert_eq!(manifest.primary_key, ["id"]);
    assert_eq!(manifest.columns[1].postgres_type, "text");
    assert_eq!((&manifest.epoch, &manifest.slot_lsn), (&None, &None));
    assert!(manifest.t0.timestamp() <= manifest.load_ended);
    let mut expected: Vec<String> = manifest
        .files
        .iter()
        .map(|file| file.name.clone())
        .collect();
    assert!(expected.len() > 1, "several connections: {expected:?}");
    expected.insert(0, "_manifest.json".to_owned());
    assert_eq!(scene.files("a", &table), expected);
}

#[tokio::test]
async fn what_a_crash_left_is_removed_and_a_complete_load_is_never_made_again() {
    let scene = Scene::new(TABLE).await;
    let table = Scene::table("t");
    let folder = scene.loads(&table).join("run=a");
    fs::create_dir_all(&folder).expect("a folder");
    for left in [
        "part-00-00000.parquet",
        "part-07-00000.parquet",
        ".part-01-00000.parquet.17.tmp",
    ] {
        fs::write(folder.join(left), "half a file").expect("a file");
    }
    let first = scene.load("a", "t").await.expect("a load");
    assert_eq!(scene.rows("a", &table).num_rows(), 20_000);
    assert!(
        !scene
            .files("a", &table)
            .iter()
            .any(|name| name.contains("07") || name.contains("tmp"))
    );

    let manifest = scene.manifest("a", &table);
    scene.sql("DROP TABLE t").await;
    let again = scene.load("a", "t").await.expect("the same load");
    assert_eq!((again.rows, again.bytes), (first.rows, first.bytes));
    assert_eq!(
        again.notes,
        ["an earlier attempt of this run had loaded it"]
    );
    assert_eq!(scene.manifest("a", &table), manifest);
}

#[tokio::test]
async fn two_complete_loads_stay_and_what_is_older_goes() {
    let scene = Scene::new(TABLE).await;
    let table = Scene::table("t");
    let half = |run_id: &str| {
        let folder = scene.loads(&table).join(format!("run={run_id}"));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("part-00-00000.parquet"), "half a file").expect("a file");
    };
    // Names say nothing of age.
    half("old");
    scene.load("c", "t").await.expect("a load");
    scene.load("b", "t").await.expect("a load");
    half("live");
    scene.load("a", "t").await.expect("a load");
    let mut left: Vec<String> = fs::read_dir(scene.loads(&table))
        .expect("loads")
        .map(|entry| {
            entry
                .expect("a load")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    left.sort();
    assert_eq!(left, ["run=a", "run=b", "run=live"]);
    assert_eq!(scene.rows("b", &table).num_rows(), 20_000);
}

struct Cancelled;

impl Guard for Cancelled {
    async fn may_commit(&self) -> Result<(), Failure> {
        Err(Failure::new("Cancelled", "the run was cancelled"))
    }
}

#[tokio::test]
async fn a_cancelled_run_commits_nothing() {
    let scene = Scene::new(TABLE).await;
    let table = Scene::table("t");
    let failure = scene
        .load_watched("a", &table, &Cancelled, &Silent)
        .await
        .expect_err("cancelled");
    assert_eq!(failure.error, "Cancelled");
    assert!(scene.files("a", &table).is_empty());
}

#[tokio::test]
async fn lost_connections_fail_the_load_and_leave_nothing() {
    let scene = Scene::new(TABLE).await;
    let table = Scene::table("t");
    let meanwhile = AfterSnapshot {
        database: &scene.database,
        sql: "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE datname = current_database() AND application_name = 'headwater' AND pid <> pg_backend_pid()",
    };
    let failure = scene
        .load_watched("a", &table, &Free, &meanwhile)
        .await
        .expect_err("no snapshot");
    assert!(
        ["SourceFailed", "SourceUnreachable"].contains(&failure.error),
        "{failure:?}"
    );
    assert!(scene.files("a", &table).is_empty());
}

#[tokio::test]
async fn a_lake_that_cannot_be_written_is_named() {
    let scene = Scene::new(TABLE).await;
    let table = Scene::table("t");
    let folder = scene.loads(&table);
    fs::create_dir_all(folder.parent().expect("a folder")).expect("a folder");
    fs::write(&folder, "a file in the way").expect("a file");
    let failure = scene.load("a", "t").await.expect_err("no folder");
    assert_eq!(failure.error, "LakeUnreadable", "{failure:?}");
    assert!(
        failure.message.contains(&folder.display().to_string()),
        "{failure:?}"
    );
}
