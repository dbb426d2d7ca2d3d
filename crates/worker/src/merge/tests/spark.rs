//! Merges of the spark engine, with a program in the place of spark-submit that leaves the table as a native merge of the same files left it.

use super::seeded;
use crate::context::{Guard, Silent};
use crate::failure::Failure;
use crate::merge::spark;
use crate::silver::testbed::{Commits, Lake, Row, SparkProgram, free, quick, rows, seq};
use crate::spark::Submit;
use pipeline::plan::PipelineKind;
use pipeline::position::Operation;
use pipeline::report::StepReport;
use std::cell::Cell;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LOADED: &[Row<'_>] = &[("I", 1, Some("Bonn"), Some(1), 0), ("I", 2, None, None, 0)];
const CHANGES: &[Row<'_>] = &[
    ("U", 1, Some("Ulm"), Some(10), 1),
    ("I", 3, None, Some(3), 2),
    ("U", 3, None, Some(4), 3),
];

async fn merge_by(
    lake: &Lake,
    program: &SparkProgram,
    guard: &impl Guard,
) -> Result<StepReport, Failure> {
    let job = lake.job("merge");
    let arguments = program.arguments(&["base/{generation}", "file={change_files}"]);
    let mut submit = Submit::new(&job, &arguments);
    submit.look = Duration::from_millis(5);
    spark::run_within(&lake.local, &submit, &lake.work, guard, &Silent, &quick()).await
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-r").args([from, to]).status();
    assert!(done.unwrap().success());
}

/// A lake with one batch of changes to merge, and a folder with the table as it is to be after it.
async fn before(changes: &[Row<'_>]) -> (Lake, tempfile::TempDir) {
    let lake = Lake::new();
    seeded(&lake, LOADED).await;
    let kept = tempfile::tempdir().unwrap();
    let table = lake.silver_folder().join("g=s1");
    copy(&table, &kept.path().join("before"));
    let position = lake.position().await;
    lake.changes(1, changes);
    lake.merge().await.unwrap();
    copy(&table, &kept.path().join("after"));
    std::fs::remove_dir_all(&table).unwrap();
    copy(&kept.path().join("before"), &table);
    lake.set_position(&position).await;
    (lake, kept)
}

/// Does what a commit does.
fn commit(lake: &Lake, kept: &Path) -> String {
    let table = lake.silver_folder().join("g=s1");
    format!("cp -r '{}/after/.' '{}'", kept.display(), table.display())
}

#[tokio::test]
async fn a_batch_is_one_submit_and_its_commit_is_recorded() {
    let (lake, kept) = before(CHANGES).await;
    let program = SparkProgram::doing(&commit(&lake, kept.path()));
    let report = merge_by(&lake, &program, &free()).await.unwrap();
    let counts = (report.rows, report.inserted, report.updated, report.deleted);
    assert_eq!((counts, report.rows_after), ((3, 1, 1, 0), Some(3)));
    let expected = [
        (1, Some("Ulm"), Some(10)),
        (2, None, None),
        (3, None, Some(4)),
    ];
    assert_eq!(lake.rows().await, rows(&expected));

    let told = program.told().unwrap();
    let (base, file) = told.trim_end().split_once('\n').unwrap();
    assert_eq!(base, "base/g=s1");
    let file = file.strip_prefix("file=file://").unwrap();
    assert!(
        file.ends_with("/runs/merge/changes-shop_public_orders.sql"),
        "{file}"
    );
    let query = std::fs::read_to_string(file).unwrap();
    assert!(query.contains("20271124-000000001.parquet"), "{query}");

    let position = lake.position().await;
    let applied = position.applied.unwrap();
    assert_eq!((applied.trx_seq, applied.rows), (seq(3), 3));
    assert_eq!((applied.instant.is_some(), position.pending), (true, None));
    let idle = SparkProgram::doing("exit 1");
    assert_eq!(merge_by(&lake, &idle, &free()).await.unwrap().rows, 0);
    assert_eq!(idle.told(), None, "no file is new");
}

#[tokio::test]
async fn redeliveries_alone_are_recorded_without_spark() {
    let (lake, _) = before(CHANGES).await;
    lake.merge().await.unwrap();
    lake.changes(2, CHANGES);
    let idle = SparkProgram::doing("exit 1");
    let report = merge_by(&lake, &idle, &free()).await.unwrap();
    assert_eq!(
        (report.dropped, report.rows_after, idle.told()),
        (3, Some(3), None)
    );
    let applied = lake.position().await.applied.unwrap();
    assert_eq!(applied.file, "20271124/20271124-000000002.parquet");
    assert_eq!((applied.trx_seq, applied.instant), (seq(3), None));
}

#[tokio::test]
async fn a_batch_that_was_broken_off_is_recorded_if_it_was_committed_and_done_again_if_not() {
    let (lake, kept) = before(CHANGES).await;
    let failing = SparkProgram::doing("echo cause >&2; exit 1");
    let failure = merge_by(&lake, &failing, &free()).await.unwrap_err();
    assert_eq!(
        (failure.error, failure.causes),
        ("ProgramFailed", vec!["cause".to_owned()])
    );
    let pending = lake.position().await.pending.unwrap();
    assert_eq!(pending.operation, Operation::Merge);
    assert_eq!(pending.files, ["20271124/20271124-000000001.parquet"]);

    // What came meanwhile is no part of the batch that is done again.
    let late = lake.changes(2, &[("I", 9, None, None, 9)]);
    let committing = commit(&lake, kept.path());
    let killed = SparkProgram::doing(&format!("{committing}; kill -9 $$"));
    let failure = merge_by(&lake, &killed, &free()).await.unwrap_err();
    assert!(failure.message.ends_with("killed by signal 9"), "{failure}");
    assert_eq!(lake.position().await.pending, Some(pending));

    std::fs::remove_file(late).unwrap();
    let idle = SparkProgram::doing("exit 1");
    let report = merge_by(&lake, &idle, &free()).await.unwrap();
    assert_eq!((report.rows_after, idle.told()), (Some(3), None));
    let position = lake.position().await;
    assert_eq!(position.applied.unwrap().trx_seq, seq(3));
    assert_eq!(position.pending, None);
}

#[tokio::test]
async fn a_submit_without_a_commit_fails() {
    let (lake, _) = before(CHANGES).await;
    let idle = SparkProgram::doing(":");
    let failure = merge_by(&lake, &idle, &free()).await.unwrap_err();
    assert_eq!(failure.error, "HudiFailed");
    assert_eq!(lake.position().await.applied, None);
}

#[tokio::test]
async fn a_continuous_merge_ends_with_its_submit_when_it_is_cancelled() {
    let (mut lake, _) = before(CHANGES).await;
    lake.plan.kind = PipelineKind::ContinuousHudi;
    lake.plan.source.capture_silent_minutes = u32::MAX;
    let slow = SparkProgram::doing("exec sleep 600");
    let report = merge_by(&lake, &slow, &Commits(Cell::new(4)))
        .await
        .unwrap();
    assert_eq!(report.rows, 0);
    assert!(slow.told().is_some());
    assert!(lake.position().await.pending.is_some());
}
