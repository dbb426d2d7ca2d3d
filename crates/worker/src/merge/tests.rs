//! Merges of hand-made change files.

mod spark;
mod types;

use crate::failure::Failure;
use crate::hudi;
use crate::silver::testbed::{
    Commits, EPOCH, Lake, NOON, Row, Rows, batch, free, quick, rows, seq, with_marks,
};
use arrow::array::{Int32Array, Int64Array, StringArray};
use pipeline::plan::PipelineKind;
use pipeline::position::{Applied, NeedsReseed, Operation, Pending};
use pipeline::report::StepReport;
use proptest::prelude::*;
use std::cell::Cell;
use std::sync::Arc;
use tasks::port::Clock;

async fn seeded(lake: &Lake, loaded: &[Row<'_>]) {
    lake.load("l1", 0, loaded);
    lake.seed("s1").await.unwrap();
}

/// Inserted, updated, deleted, dropped, rows after.
fn counts(report: &StepReport) -> (u64, u64, u64, u64, u64) {
    (
        report.inserted,
        report.updated,
        report.deleted,
        report.dropped,
        report.rows_after.unwrap(),
    )
}

#[tokio::test]
async fn changes_are_inserted_updated_and_deleted_once() {
    let lake = Lake::new();
    seeded(
        &lake,
        &[
            ("I", 1, Some("Bonn"), Some(1), 0),
            ("I", 2, Some("Ulm"), Some(2), 0),
        ],
    )
    .await;
    lake.changes(
        1,
        &[
            ("I", 3, Some("Köln"), Some(3), 1),
            ("U", 1, Some("Bonn"), Some(10), 2),
            ("D", 2, None, None, 3),
            ("D", 99, None, None, 4),
            ("I", 4, None, Some(4), 5),
            ("D", 4, None, None, 6),
        ],
    );
    let report = lake.merge().await.unwrap();
    assert_eq!(counts(&report), (1, 1, 1, 0, 2));
    let size = hudi::open(&lake.published().await).await.unwrap();
    let size = size.size().await.unwrap();
    assert!(size.stored_bytes > size.live_bytes);
    let space = crate::silver::space(&lake.work, &size);
    assert_eq!(report.notes, [space]);
    assert_eq!(report.complete_through, Some(NOON.plus_seconds(3600)));
    let expected = rows(&[(1, Some("Bonn"), Some(10)), (3, Some("Köln"), Some(3))]);
    assert_eq!(lake.rows().await, expected);
    let position = lake.position().await;
    let applied = position.applied.clone().unwrap();
    assert_eq!((applied.trx_seq, applied.rows), (seq(6), 6));
    assert_eq!(applied.file, "20271124/20271124-000000001.parquet");
    assert_eq!(
        (position.pending.as_ref(), position.complete_through),
        (None, report.complete_through)
    );

    let again = lake.merge().await.unwrap();
    assert_eq!((again.rows, again.inserted), (0, 0), "no file is new");
    assert_eq!(lake.position().await, position);
}

#[tokio::test]
async fn stale_and_redelivered_changes_change_nothing() {
    let lake = Lake::new();
    seeded(&lake, &[("I", 1, None, Some(1), 0)]).await;
    let first: &[Row<'_>] = &[
        ("U", 1, None, Some(5), 5),
        ("I", 2, None, Some(2), 6),
        ("D", 2, None, None, 7),
    ];
    lake.changes(1, first);
    lake.merge().await.unwrap();
    lake.changes(2, first);
    lake.changes(
        3,
        &[
            ("I", 2, None, Some(2), 6),
            ("U", 1, None, Some(8), 8),
            ("U", 1, None, Some(4), 4),
        ],
    );
    let report = lake.merge().await.unwrap();
    assert_eq!(counts(&report), (0, 1, 0, 5, 1));
    assert_eq!(lake.rows().await, rows(&[(1, None, Some(8))]));
}

#[tokio::test]
async fn changes_below_the_load_are_dropped() {
    let lake = Lake::new();
    lake.load("l1", 60, &[("I", 1, None, Some(1), 0)]);
    lake.seed("s1").await.unwrap();
    lake.changes(1, &[("D", 1, None, None, 9), ("I", 7, None, Some(7), 10)]);
    let report = lake.merge().await.unwrap();
    assert_eq!(counts(&report), (0, 0, 0, 2, 1));
    assert_eq!(lake.rows().await.len(), 1);
}

#[tokio::test]
async fn the_newest_change_of_a_key_wins_across_files_and_batches() {
    let lake = Lake::new();
    seeded(&lake, &[]).await;
    lake.changes(
        1,
        &[
            ("I", 1, None, Some(1), 1),
            ("U", 1, None, Some(3), 3),
            ("U", 1, None, Some(2), 2),
        ],
    );
    lake.changes(2, &[("D", 1, None, None, 4)]);
    lake.changes(3, &[("I", 1, None, Some(5), 5)]);
    let one_file = crate::merge::Limits {
        batch_rows: 1,
        ..quick()
    };
    let report = lake.merge_guarded(&free(), &one_file).await.unwrap();
    assert_eq!(counts(&report), (2, 0, 1, 0, 1));
    assert_eq!(lake.rows().await, rows(&[(1, None, Some(5))]));
}

#[tokio::test]
async fn a_row_leaves_the_partition_that_it_was_in() {
    let lake = Lake::partitioned();
    seeded(
        &lake,
        &[
            ("I", 1, Some("Bonn"), Some(1), 0),
            ("I", 2, Some("Bonn"), Some(2), 0),
            ("I", 3, None, Some(3), 0),
        ],
    )
    .await;
    lake.changes(
        1,
        &[
            ("U", 1, Some("Ulm"), Some(10), 1),
            ("D", 2, None, None, 2),
            ("U", 3, Some("Ulm"), Some(30), 3),
        ],
    );
    let report = lake.merge().await.unwrap();
    assert_eq!(counts(&report), (0, 2, 1, 0, 2));
    assert_eq!(
        lake.rows().await,
        rows(&[(1, Some("Ulm"), Some(10)), (3, Some("Ulm"), Some(30))])
    );

    lake.changes(
        2,
        &[
            ("D", 1, Some("elsewhere"), None, 4),
            ("I", 4, Some("a/b"), None, 5),
        ],
    );
    let failure = lake.merge().await.unwrap_err();
    assert_eq!(failure.error, "PartitionValueUnsupported");
}

#[tokio::test]
async fn the_first_insert_into_an_empty_table_and_the_last_delete_from_it() {
    let lake = Lake::new();
    seeded(&lake, &[]).await;
    lake.changes(1, &[("D", 1, None, None, 1)]);
    assert_eq!(counts(&lake.merge().await.unwrap()), (0, 0, 0, 0, 0));
    lake.changes(2, &[("I", 1, Some("Bonn"), Some(1), 2)]);
    assert_eq!(counts(&lake.merge().await.unwrap()), (1, 0, 0, 0, 1));
    lake.changes(3, &[("D", 1, None, None, 3)]);
    assert_eq!(counts(&lake.merge().await.unwrap()), (0, 0, 1, 0, 0));
    assert_eq!(lake.rows().await, Rows::new());
    lake.changes(4, &[("I", 2, None, Some(2), 4)]);
    assert_eq!(counts(&lake.merge().await.unwrap()), (1, 0, 0, 0, 1));
}

#[tokio::test]
async fn a_merge_that_is_broken_off_is_settled_by_the_next() {
    let lake = Lake::new();
    seeded(&lake, &[("I", 1, None, Some(1), 0)]).await;
    lake.changes(1, &[("I", 2, None, Some(2), 1), ("D", 1, None, None, 2)]);
    let before = lake.position().await;
    let base = hudi::open(&lake.published().await)
        .await
        .unwrap()
        .newest_instant();

    // After pending: nothing was committed.
    let stopped = lake
        .merge_guarded(&Commits(Cell::new(0)), &quick())
        .await
        .unwrap_err();
    assert_eq!(stopped.error, "Cancelled");
    let files = vec!["20271124/20271124-000000001.parquet".to_owned()];
    let pending = Pending {
        run_id: "merge".to_owned(),
        operation: Operation::Merge,
        base_instant: base,
        files,
        rows_after: Some(1),
    };
    assert_eq!(lake.position().await.pending, Some(pending.clone()));
    // The same files again, though another came meanwhile.
    lake.changes(2, &[("I", 3, None, Some(3), 3)]);
    half_a_commit(&lake).await;
    assert_eq!(lake.rows().await, rows(&[(1, None, Some(1))]));
    let report = lake.merge().await.unwrap();
    assert_eq!(counts(&report), (2, 0, 1, 0, 2));
    let expected = rows(&[(2, None, Some(2)), (3, None, Some(3))]);
    assert_eq!(lake.rows().await, expected);

    // After the commit: it is found, and not made again.
    let after = lake.position().await;
    let instants = instants(&lake).await;
    let first = Applied {
        file: pending.files[0].clone(),
        trx_seq: seq(2),
        instant: Some(instants[1].clone()),
        rows: 2,
    };
    lake.set_position(&pipeline::position::Position {
        applied: Some(first),
        pending: Some(Pending {
            base_instant: Some(instants[1].clone()),
            files: vec!["20271124/20271124-000000002.parquet".to_owned()],
            rows_after: Some(2),
            ..pending
        }),
        ..before
    })
    .await;
    let report = lake.merge().await.unwrap();
    assert_eq!(counts(&report), (0, 0, 0, 0, 2));
    assert_eq!(lake.rows().await, expected);
    assert_eq!(lake.position().await, after);
    assert_eq!(self::instants(&lake).await, instants);
}

#[tokio::test]
async fn rows_that_do_not_add_up_stay_a_failure_until_a_new_seed() {
    let lake = Lake::new();
    seeded(&lake, &[("I", 1, None, Some(1), 0)]).await;
    lake.changes(1, &[("I", 2, None, Some(2), 1)]);
    let before = lake.position().await;
    let base = hudi::open(&lake.published().await)
        .await
        .unwrap()
        .newest_instant();
    lake.merge().await.unwrap();
    // The commit was made by an attempt that was killed, and is not what it was to be.
    lake.set_position(&pipeline::position::Position {
        pending: Some(Pending {
            run_id: "merge".to_owned(),
            operation: Operation::Merge,
            base_instant: base,
            files: vec!["20271124/20271124-000000001.parquet".to_owned()],
            rows_after: Some(3),
        }),
        ..before
    })
    .await;
    let failure = lake.merge().await.unwrap_err();
    assert_eq!(failure.error, "RowsDoNotAddUp", "{failure}");
    let hint = Some("headwater reload --identifier shop public.orders".to_owned());
    assert_eq!(failure.hint, hint);
    for _ in 0..2 {
        let failure = lake.merge().await.unwrap_err();
        assert_eq!((failure.error, failure.hint), ("NeedsReseed", hint.clone()));
        assert!(failure.message.contains("2 rows"), "{}", failure.message);
        assert_eq!(lake.position().await.applied, None);
        // Nor does a seed that fails heal it.
        assert_eq!(
            lake.seed_guarded("s2", &Commits(Cell::new(0)))
                .await
                .unwrap_err()
                .error,
            "Cancelled"
        );
    }
    lake.seed("s3").await.unwrap();
    assert_eq!(lake.merge().await.unwrap().inserted, 1);
}

async fn instants(lake: &Lake) -> Vec<String> {
    let table = hudi::open(&lake.published().await).await.unwrap();
    let mut instants = table.instants();
    instants.sort();
    instants
}

/// What a writer leaves that is killed between its data files and its commit.
async fn half_a_commit(lake: &Lake) {
    let published = lake.published().await;
    let folder = published.path().unwrap();
    let timeline = folder.join(".hoodie/timeline");
    let instant = "20990101000000000";
    std::fs::write(timeline.join(format!("{instant}.commit.requested")), b"").unwrap();
    std::fs::write(timeline.join(format!("{instant}.inflight")), b"").unwrap();
    let data = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "parquet")
        })
        .unwrap();
    let name = format!("11111111-1111-1111-1111-111111111111-0_0-0-0_{instant}.parquet");
    std::fs::copy(data, folder.join(&name)).unwrap();
    let markers = folder.join(".hoodie/.temp").join(instant);
    std::fs::create_dir_all(&markers).unwrap();
    std::fs::write(markers.join("MARKERS.type"), b"TIMELINE_SERVER_BASED").unwrap();
    std::fs::write(markers.join("MARKERS0"), format!("{name}.marker.CREATE\n")).unwrap();
}

#[tokio::test]
async fn a_truncated_change_file_fails_its_table_by_name_and_what_came_before_it_is_applied() {
    let lake = Lake::new();
    seeded(&lake, &[("I", 1, None, Some(1), 0)]).await;
    lake.changes(1, &[("I", 2, None, Some(2), 1)]);
    let many: Vec<Row<'_>> = (0..5000)
        .map(|n| ("I", 100 + n, Some("x"), Some(i64::from(n)), 10 + n as u64))
        .collect();
    let bad = lake.changes(2, &many);
    lake.changes(3, &[("I", 3, None, Some(3), 9000)]);
    let whole = std::fs::read(&bad).unwrap();
    std::fs::write(&bad, &whole[..whole.len() / 2]).unwrap();
    let failure = lake.merge().await.unwrap_err();
    assert_eq!(failure.error, "ChangeFileUnreadable");
    assert!(
        failure.message.contains("20271124-000000002.parquet"),
        "{failure}"
    );
    let expected = rows(&[(1, None, Some(1)), (2, None, Some(2))]);
    assert_eq!(lake.rows().await, expected);

    // Damage in the middle is found when the file is read: nothing of its batch is applied.
    let mut damaged = whole.clone();
    let middle = whole.len() / 3;
    damaged[middle..middle + 2000].fill(0xff);
    std::fs::write(&bad, &damaged).unwrap();
    let failure = lake.merge().await.unwrap_err();
    assert_eq!(failure.error, "ChangeFileUnreadable", "{failure}");
    assert_eq!(lake.rows().await, expected);
    assert_eq!(lake.position().await.pending, None);

    std::fs::write(&bad, &whole).unwrap();
    assert_eq!(lake.merge().await.unwrap().inserted, 5001);
}

#[tokio::test]
async fn changes_that_cannot_be_followed_fail_the_table_with_the_way_out() {
    let lake = Lake::new();
    let refused = async |name: &str| -> Failure {
        let failure = lake.merge().await.unwrap_err();
        assert_eq!(failure.error, name, "{failure}");
        assert_eq!(
            failure.hint.as_deref(),
            Some("headwater reload --identifier shop public.orders")
        );
        failure
    };
    refused("NotSeeded").await;
    seeded(&lake, &[("I", 1, None, Some(1), 0)]).await;
    lake.capture("another epoch", NOON.plus_seconds(3600));
    assert!(
        refused("NeedsReseed")
            .await
            .message
            .contains("capture began anew")
    );

    lake.capture(EPOCH, NOON.plus_seconds(3600));
    let mut state = lake.read_capture();
    state.needs_reseed.insert(
        "public.orders".to_owned(),
        NeedsReseed {
            reason: "TRUNCATE".to_owned(),
            at: seq(1),
        },
    );
    lake.capture_state(&state);
    assert!(refused("NeedsReseed").await.message.contains("TRUNCATE"));

    lake.capture(EPOCH, NOON.plus_seconds(3600));
    let added = with_marks(
        vec!["U"],
        vec![1],
        vec![
            ("id", Arc::new(Int32Array::from(vec![1]))),
            ("v", Arc::new(Int64Array::from(vec![1]))),
            ("note", Arc::new(StringArray::from(vec!["new"]))),
        ],
    );
    lake.changes_batch(1, &added);
    assert!(refused("NeedsReseed").await.message.contains("`note`"));

    let other = with_marks(
        vec!["U"],
        vec![1],
        vec![
            ("id", Arc::new(Int32Array::from(vec![1]))),
            ("v", Arc::new(StringArray::from(vec!["1"]))),
        ],
    );
    lake.changes_batch(1, &other);
    assert!(
        refused("ColumnTypeChanged")
            .await
            .message
            .contains("column `v`")
    );
    assert_eq!(lake.rows().await, rows(&[(1, None, Some(1))]));
}

#[tokio::test]
async fn a_key_or_a_partition_that_was_changed_in_the_configuration_needs_a_new_seed() {
    let mut lake = Lake::new();
    seeded(&lake, &[("I", 1, Some("Bonn"), Some(1), 0)]).await;
    lake.changes(1, &[("D", 1, Some("Bonn"), None, 1)]);
    let planned = lake.work.clone();
    lake.work.primary_key = vec!["id".to_owned(), "city".to_owned()];
    let set = |lake: &mut Lake, option: &str, value: &str| {
        let options = &mut lake.work.hudi_options;
        options.insert(option.to_owned(), value.to_owned());
    };
    set(&mut lake, "hoodie.table.recordkey.fields", "id,city");
    let failure = lake.merge().await.unwrap_err();
    assert_eq!(failure.error, "NeedsReseed", "{failure}");
    assert!(failure.message.contains("`id,city`"), "{failure}");

    lake.work = planned.clone();
    set(&mut lake, "hoodie.table.partition.fields", "city");
    let failure = lake.merge().await.unwrap_err();
    assert_eq!(failure.error, "NeedsReseed", "{failure}");
    assert!(failure.message.contains("partition_path"), "{failure}");

    lake.work = planned;
    assert_eq!(lake.merge().await.unwrap().deleted, 1);
}

#[tokio::test]
async fn a_column_that_a_change_file_lacks_is_null() {
    let lake = Lake::new();
    seeded(&lake, &[("I", 1, Some("Bonn"), Some(1), 0)]).await;
    let lacking = with_marks(
        vec!["U"],
        vec![1],
        vec![
            ("id", Arc::new(arrow::array::Int16Array::from(vec![1]))),
            ("v", Arc::new(Int64Array::from(vec![2]))),
        ],
    );
    lake.changes_batch(1, &lacking);
    lake.merge().await.unwrap();
    assert_eq!(lake.rows().await, rows(&[(1, None, Some(2))]));
}

#[tokio::test]
async fn the_first_merge_waits_until_capture_has_passed_the_load() {
    let lake = Lake::new();
    seeded(&lake, &[("I", 1, None, Some(1), 0)]).await;
    lake.capture(EPOCH, NOON.plus_seconds(9));
    let failure = lake.merge().await.unwrap_err();
    assert_eq!(failure.error, "CaptureBehind");
    let patient = crate::merge::Limits {
        capture_wait: std::time::Duration::from_secs(60),
        ..quick()
    };
    let guard = free();
    let merging = lake.merge_guarded(&guard, &patient);
    let capturing = async {
        tokio::task::yield_now().await;
        lake.changes(1, &[("U", 1, None, Some(2), 1)]);
        lake.capture(EPOCH, NOON.plus_seconds(10));
    };
    let (report, ()) = futures::join!(merging, capturing);
    assert_eq!(
        report.unwrap().complete_through,
        Some(NOON.plus_seconds(10))
    );
    assert_eq!(lake.rows().await, rows(&[(1, None, Some(2))]));

    lake.capture(EPOCH, NOON.plus_seconds(9));
    let report = lake.merge().await.unwrap();
    assert_eq!(
        report.complete_through,
        Some(NOON.plus_seconds(10)),
        "never moves back"
    );
}

#[tokio::test]
async fn a_continuous_merge_goes_on_until_it_is_cancelled() {
    let mut lake = Lake::new();
    lake.plan.kind = PipelineKind::ContinuousHudi;
    seeded(&lake, &[]).await;
    let silent = lake.merge().await.unwrap_err();
    assert_eq!(silent.error, "CaptureSilent", "capture's last sign is old");
    lake.capture(EPOCH, lake.local.now());
    lake.changes(1, &[("I", 1, None, Some(1), 1)]);
    // Two looks and one commit in the first round, then a quiet one.
    let report = lake
        .merge_guarded(&Commits(Cell::new(3)), &quick())
        .await
        .unwrap();
    assert_eq!(counts(&report), (1, 0, 0, 0, 1));
    lake.changes(2, &[("I", 2, None, Some(2), 2)]);
    let report = lake
        .merge_guarded(&Commits(Cell::new(1)), &quick())
        .await
        .unwrap();
    assert_eq!(report.inserted, 0, "cancelled before its commit");
    assert_eq!(lake.rows().await.len(), 1);
    let report = lake
        .merge_guarded(&Commits(Cell::new(2)), &quick())
        .await
        .unwrap();
    assert_eq!(report.inserted, 1);
}

#[tokio::test]
async fn a_killed_seed_and_a_pointer_that_was_not_moved_are_put_right_by_a_merge() {
    let lake = Lake::new();
    seeded(&lake, &[("I", 1, None, Some(1), 0)]).await;
    lake.load("l2", 60, &[("I", 1, None, Some(2), 0)]);
    let half = lake
        .seed_guarded("s2", &Commits(Cell::new(1)))
        .await
        .unwrap_err();
    assert_eq!(half.error, "Cancelled");
    let pointer = lake.silver_folder().join(pipeline::path::PUBLISHED_FILE);
    let right = std::fs::read(&pointer).unwrap();
    std::fs::write(&pointer, br#"{"schema_version":1,"generation":"g=s0"}"#).unwrap();
    lake.merge().await.unwrap();
    assert_eq!(std::fs::read(&pointer).unwrap(), right);
    assert_eq!(lake.position().await.pending, None);
    assert!(!lake.silver_folder().join("g=s2").exists());
}

#[tokio::test]
async fn partitions_of_the_source_are_not_measured_by_one_another() {
    let lake = Lake::new();
    seeded(&lake, &[]).await;
    lake.changes(1, &[("I", 1, None, Some(1), 10)]);
    lake.merge().await.unwrap();
    let of_partition = lake.changes(2, &[("I", 2, None, Some(2), 5), ("U", 1, None, Some(0), 6)]);
    let folded = lake.changes_folder().join("part_b/20271124");
    std::fs::create_dir_all(&folded).unwrap();
    std::fs::rename(
        &of_partition,
        folded.join(of_partition.file_name().unwrap()),
    )
    .unwrap();
    let report = lake.merge().await.unwrap();
    assert_eq!(counts(&report), (1, 0, 0, 1, 2));
    assert_eq!(lake.position().await.applied.unwrap().trx_seq, seq(10));
}

#[tokio::test]
async fn merges_go_on_when_the_library_has_archived_old_commits() {
    let lake = Lake::new();
    seeded(&lake, &[]).await;
    let mut expected = Rows::new();
    for n in 1..=34 {
        lake.changes(n, &[("I", n as i32, None, Some(1), u64::from(n))]);
        lake.merge().await.unwrap();
        expected.insert(n as i32, (None, Some(1)));
    }
    assert!(instants(&lake).await.len() < 34);
    assert_eq!(lake.rows().await, expected);
}

/// A key, and its new city and value; `None` deletes it.
type NewRow = (i32, Option<(Option<&'static str>, i64)>);

/// A change of one of a few keys.
fn change() -> impl Strategy<Value = NewRow> {
    let city = prop_oneof![Just(None), Just(Some("Bonn")), Just(Some("Ulm"))];
    (
        0..6_i32,
        proptest::option::weighted(0.7, (city, any::<i64>())),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_changes_in_any_files_and_batches_end_in_the_same_rows(
        changes in proptest::collection::vec(change(), 1..40),
        cuts in proptest::collection::vec((1..12_usize, 0..4_usize, any::<bool>()), 1..8),
        batch_rows in 1..30_u64,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(same_rows(&changes, &cuts, batch_rows));
    }
}

/// Each cut: changes in the next file, how many before them are delivered again, whether a merge follows.
async fn same_rows(changes: &[NewRow], cuts: &[(usize, usize, bool)], batch_rows: u64) {
    let lake = Lake::partitioned();
    seeded(
        &lake,
        &[
            ("I", 0, Some("Bonn"), Some(0), 0),
            ("I", 9, None, Some(9), 0),
        ],
    )
    .await;
    let mut expected = rows(&[(0, Some("Bonn"), Some(0)), (9, None, Some(9))]);
    let all: Vec<Row<'_>> = changes
        .iter()
        .enumerate()
        .map(|(at, (id, value))| match value {
            Some((city, v)) => ("U", *id, *city, Some(*v), at as u64 + 1),
            None => ("D", *id, None, None, at as u64 + 1),
        })
        .collect();
    let limits = crate::merge::Limits {
        batch_rows,
        ..quick()
    };
    let (mut done, mut file) = (0, 0);
    for (count, again, merge) in cuts.iter().cycle() {
        let end = (done + count).min(all.len());
        file += 1;
        lake.changes_batch(file, &batch(&all[done.saturating_sub(*again)..end]));
        done = end;
        if *merge || done == all.len() {
            lake.merge_guarded(&free(), &limits).await.unwrap();
        }
        if done == all.len() {
            break;
        }
    }
    for (_, id, city, v, _) in &all {
        match v {
            Some(v) => expected.insert(*id, (city.map(str::to_owned), Some(*v))),
            None => expected.remove(id),
        };
    }
    assert_eq!(lake.rows().await, expected);
}
