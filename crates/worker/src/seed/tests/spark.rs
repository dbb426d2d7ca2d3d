//! Seeds of the spark engine, with a program in the place of spark-submit that puts there the generation of a native seed.

use super::pointer;
use crate::context::{Guard, Silent};
use crate::failure::Failure;
use crate::seed::spark;
use crate::silver::testbed::{Commits, Lake, Row, SparkProgram, free, rows};
use crate::spark::Submit;
use pipeline::plan::{Engine, TableType};
use pipeline::report::StepReport;
use std::cell::Cell;
use std::path::PathBuf;
use std::time::Duration;

const ROWS: &[Row<'_>] = &[("I", 1, Some("Bonn"), Some(7), 0), ("I", 2, None, None, 0)];

async fn seed_by(
    lake: &Lake,
    program: &SparkProgram,
    run_id: &str,
    guard: &impl Guard,
) -> Result<StepReport, Failure> {
    let job = lake.job(run_id);
    let arguments =
        program.arguments(&["--target-base-path", "g={run_id}", "source={load_run_id}"]);
    let mut submit = Submit::new(&job, &arguments);
    submit.look = Duration::from_millis(5);
    spark::run(&lake.local, &submit, &lake.work, guard, &Silent).await
}

/// The generation of a native seed of these rows, in a lake of its own.
async fn built(loaded: &[Row<'_>]) -> (Lake, PathBuf) {
    let twin = Lake::new();
    twin.load("l1", 0, loaded);
    twin.seed("n").await.unwrap();
    let folder = twin.silver_folder().join("g=n");
    (twin, folder)
}

fn copying(lake: &Lake, from: &std::path::Path) -> SparkProgram {
    let to = lake.silver_folder();
    SparkProgram::doing(&format!(
        "cp -r '{}' '{}/g=s1'",
        from.display(),
        to.display()
    ))
}

#[tokio::test]
async fn what_the_streamer_built_is_published_when_it_has_the_rows_of_the_load() {
    let lake = Lake::new();
    lake.load("l1", 0, ROWS);
    let (_twin, folder) = built(ROWS).await;
    let program = copying(&lake, &folder);
    let report = seed_by(&lake, &program, "s1", &free()).await.unwrap();
    assert_eq!((report.inserted, report.rows_after), (2, Some(2)));
    let told = program.told().unwrap();
    assert_eq!(told, "--target-base-path\ng=s1\nsource=l1\n");
    let expected = rows(&[(1, Some("Bonn"), Some(7)), (2, None, None)]);
    assert_eq!(lake.rows().await, expected);
    let position = lake.position().await;
    assert_eq!((position.engine, position.pending), (Engine::Spark, None));
    assert_eq!(pointer(&lake), "g=s1");

    let idle = SparkProgram::doing("exit 1");
    let again = seed_by(&lake, &idle, "s1", &free()).await.unwrap();
    assert_eq!((again.inserted, idle.told()), (2, None));
}

#[tokio::test]
async fn nothing_is_published_of_a_build_that_failed_or_has_other_rows() {
    let mut lake = Lake::new();
    lake.load("l1", 0, ROWS);
    let (_twin, fewer) = built(&ROWS[..1]).await;
    let half = format!(
        "mkdir -p '{0}/g=s1/.hoodie' && echo 'cause' >&2 && exit 1",
        lake.silver_folder().display()
    );
    for (program, error) in [
        (SparkProgram::doing(&half), "ProgramFailed"),
        (SparkProgram::doing("kill -9 $$"), "ProgramFailed"),
        (SparkProgram::doing(":"), "HudiFailed"),
        (copying(&lake, &fewer), "RowsDoNotAddUp"),
    ] {
        let failure = seed_by(&lake, &program, "s1", &free()).await.unwrap_err();
        assert_eq!(failure.error, error, "{failure:?}");
        assert_eq!(lake.position().await.seed, None);
    }
    // Whoever comes next removes what was left.
    let report = lake.seed("s2").await.unwrap();
    assert_eq!(report.inserted, 2);
    assert!(!lake.silver_folder().join("g=s1").exists());

    lake.work.table_type = TableType::MergeOnRead;
    let idle = SparkProgram::doing(":");
    let failure = seed_by(&lake, &idle, "s3", &free()).await.unwrap_err();
    assert_eq!((failure.error, idle.told()), ("TableTypeUnsupported", None));
}

#[tokio::test]
async fn a_run_that_was_cancelled_publishes_nothing() {
    let lake = Lake::new();
    lake.load("l1", 0, ROWS);
    let slow = SparkProgram::doing("exec sleep 600");
    let failure = seed_by(&lake, &slow, "s1", &Commits(Cell::new(2))).await;
    assert_eq!(failure.unwrap_err().error, "Cancelled");
    assert_eq!(lake.position().await.seed, None);
}
