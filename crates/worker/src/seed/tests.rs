//! Seeds of hand-made loads.

mod spark;

use crate::failure::Failure;
use crate::hudi;
use crate::silver::testbed::{Commits, EPOCH, Lake, NOON, rows, with_marks};
use arrow::array::{Int32Array, StringArray};
use futures::TryStreamExt;
use pipeline::path::PUBLISHED_FILE;
use pipeline::plan::Partitioning;
use pipeline::position::{NeedsReseed, Published};
use std::cell::Cell;
use std::sync::Arc;

fn pointer(lake: &Lake) -> String {
    let bytes = std::fs::read(lake.silver_folder().join(PUBLISHED_FILE)).unwrap();
    serde_json::from_slice::<Published>(&bytes)
        .unwrap()
        .generation
}

#[tokio::test]
async fn a_load_becomes_a_published_generation() {
    let lake = Lake::new();
    lake.load(
        "l1",
        0,
        &[("I", 1, Some("Bonn"), Some(7), 0), ("I", 2, None, None, 0)],
    );
    let report = lake.seed("s1").await.unwrap();
    assert_eq!((report.inserted, report.rows_after), (2, Some(2)));
    assert_eq!(
        lake.rows().await,
        rows(&[(1, Some("Bonn"), Some(7)), (2, None, None)])
    );
    let position = lake.position().await;
    assert_eq!(position.epoch.as_deref(), Some(EPOCH));
    assert_eq!((position.applied, position.pending), (None, None));
    assert_eq!(position.seed.unwrap().load_run_id, "l1");
    assert_eq!(pointer(&lake), "g=s1");
    let size = hudi::open(&lake.published().await)
        .await
        .unwrap()
        .size()
        .await
        .unwrap();
    assert_eq!((size.rows, size.live_files), (2, 1));
    assert_eq!(size.live_bytes, size.stored_bytes);
}

#[tokio::test]
async fn an_attempt_after_the_one_that_published_repeats_its_report() {
    let lake = Lake::new();
    lake.load("l1", 0, &[("I", 1, None, Some(7), 0)]);
    let first = lake.seed("s1").await.unwrap();
    std::fs::remove_file(lake.silver_folder().join(PUBLISHED_FILE)).unwrap();
    lake.load(
        "l2",
        60,
        &[("I", 2, None, None, 0), ("I", 3, None, None, 0)],
    );
    assert_eq!(lake.seed("s1").await.unwrap(), first);
    assert_eq!(
        pointer(&lake),
        "g=s1",
        "killed between position and pointer"
    );
}

#[tokio::test]
async fn a_seed_that_is_stopped_leaves_nothing_visible_and_is_done_again() {
    let lake = Lake::new();
    lake.load("l1", 0, &[("I", 1, None, Some(7), 0)]);
    lake.seed("s1").await.unwrap();
    lake.load("l2", 60, &[("I", 2, None, Some(8), 0)]);
    for commits in 0..3 {
        let stopped = lake
            .seed_guarded("s2", &Commits(Cell::new(commits)))
            .await
            .unwrap_err();
        assert_eq!(stopped.error, "Cancelled");
        assert_eq!(lake.rows().await, rows(&[(1, None, Some(7))]));
        assert_eq!(pointer(&lake), "g=s1");
        assert!(lake.position().await.pending.is_some());
    }
    let left = lake.silver_folder().join("g=s2");
    assert!(left.exists());
    lake.seed("s3").await.unwrap();
    assert!(!left.exists(), "what another run left is removed");
    assert_eq!(lake.rows().await, rows(&[(2, None, Some(8))]));
    assert!(lake.silver_folder().join("g=s1").exists(), "a way back");
}

#[tokio::test]
async fn keys_that_are_there_twice_or_null_are_named() {
    let lake = Lake::new();
    let many: Vec<_> = (0..20).map(|n| ("I", n % 12, None, None, 0)).collect();
    lake.load("l1", 0, &many);
    let failure = lake.seed("s1").await.unwrap_err();
    assert_eq!(failure.error, "DuplicateKeys");
    assert!(
        failure.message.starts_with("8 keys of `public.orders`"),
        "{failure}"
    );
    assert_eq!(failure.message.matches("(2 rows)").count(), 5);
    assert!(!lake.silver_folder().join("g=s1").exists());

    let nulls = with_marks(
        vec!["I"],
        vec![0],
        vec![("id", Arc::new(Int32Array::from(vec![None])))],
    );
    lake.load_batch("l2", 1, &nulls);
    let failure = lake.seed("s2").await.unwrap_err();
    assert_eq!(failure.error, "NullKey");
    assert!(failure.message.contains("`id`"), "{failure}");
}

#[tokio::test]
async fn a_source_without_a_primary_key_is_seeded_by_the_configured_one() {
    let lake = Lake::new();
    lake.load("l1", 0, &[("I", 1, None, None, 0), ("I", 1, None, None, 0)]);
    let mut manifest = lake.read_manifest("l1");
    manifest.primary_key.clear();
    lake.manifest(&manifest);
    assert_eq!(lake.seed("s1").await.unwrap_err().error, "DuplicateKeys");

    lake.load("l2", 1, &[("I", 1, None, None, 0), ("I", 2, None, None, 0)]);
    let mut manifest = lake.read_manifest("l2");
    manifest.primary_key.clear();
    lake.manifest(&manifest);
    assert_eq!(lake.seed("s2").await.unwrap().inserted, 2);
}

#[tokio::test]
async fn keys_are_counted_in_as_many_passes_as_memory_asks() {
    let lake = Lake::new();
    let many: Vec<_> = (0..1000).map(|n| ("I", n, None, None, 0)).collect();
    lake.load("l1", 0, &many);
    let load = super::load::newest(&lake.work).unwrap();
    let keys = crate::silver::KeyColumns::of(&lake.work);
    assert_eq!(
        super::distinct::count_by(&lake.work, &load, &keys, 100).unwrap(),
        1000
    );
}

#[tokio::test]
async fn keys_of_several_columns_are_not_taken_for_one_another() {
    let lake = Lake::keyed(&["a", "b"], Partitioning::None);
    let texts = |texts: Vec<&str>| Arc::new(StringArray::from(texts)) as arrow::array::ArrayRef;
    let two = |a: Vec<&str>, b: Vec<&str>| {
        with_marks(
            vec!["I"; a.len()],
            vec![0; a.len()],
            vec![("a", texts(a)), ("b", texts(b))],
        )
    };
    lake.load_batch("l1", 0, &two(vec!["x", "x,b:y"], vec!["y,b:z", "z"]));
    assert_eq!(lake.seed("s1").await.unwrap_err().error, "KeyAmbiguous");
    lake.load_batch("l2", 1, &two(vec!["x", "x", ""], vec!["y", "z", "y"]));
    assert_eq!(lake.seed("s2").await.unwrap().inserted, 3);
    let keys: Vec<String> = lake
        .batches()
        .await
        .iter()
        .flat_map(|batch| {
            use arrow::array::AsArray;
            let keys = batch[hudi::RECORD_KEY].as_string::<i32>();
            keys.iter().flatten().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(
        keys,
        ["a:x,b:y", "a:x,b:z", "a:__empty__,b:y"],
        "as Hudi renders them"
    );
}

#[tokio::test]
async fn a_load_that_cannot_be_seeded_says_why() {
    let keyless = Lake::keyed(&[], Partitioning::None);
    keyless.load("l1", 0, &[("I", 1, None, Some(7), 0)]);
    assert_eq!(keyless.seed("s1").await.unwrap_err().error, "NoPrimaryKey");

    let lake = Lake::new();
    let refused = async |name: &str| -> Failure {
        let failure = lake.seed("s1").await.unwrap_err();
        assert_eq!(failure.error, name, "{failure}");
        assert!(failure.hint.is_some());
        failure
    };
    refused("NoLoad").await;
    lake.load("l1", 0, &[("I", 1, None, Some(7), 0)]);
    let mut manifest = lake.read_manifest("l1");
    manifest.epoch = Some("an earlier epoch".to_owned());
    lake.manifest(&manifest);
    refused("NeedsReload").await;

    manifest.epoch = Some(EPOCH.to_owned());
    manifest.rows = 2;
    lake.manifest(&manifest);
    refused("LoadDamaged").await;

    manifest.rows = 1;
    manifest.files[0].bytes += 1;
    lake.manifest(&manifest);
    refused("LoadDamaged").await;

    let odd = with_marks(
        vec!["I"],
        vec![0],
        vec![
            ("id", Arc::new(Int32Array::from(vec![1]))),
            ("unit price", Arc::new(Int32Array::from(vec![1]))),
        ],
    );
    lake.load_batch("l2", 1, &odd);
    assert!(
        refused("ColumnNameUnsupported")
            .await
            .message
            .contains("`unit price`")
    );

    let other = with_marks(
        vec!["I"],
        vec![0],
        vec![("nr", Arc::new(Int32Array::from(vec![1])))],
    );
    lake.load_batch("l3", 2, &other);
    refused("KeyColumnMissing").await;

    lake.load("l4", 3, &[("I", 1, None, Some(7), 0)]);
    let mut state = lake.read_capture();
    state.needs_reseed.insert(
        "public.orders".to_owned(),
        NeedsReseed {
            reason: "TRUNCATE".to_owned(),
            at: pipeline::seq::ChangeSeq::new(NOON.plus_seconds(4), 0),
        },
    );
    lake.capture_state(&state);
    assert!(refused("NeedsReload").await.message.contains("TRUNCATE"));
    assert!(!lake.silver_folder().join("g=s1").exists());
}

#[tokio::test]
async fn only_a_newer_load_replaces_a_generation_and_the_one_before_stays() {
    let lake = Lake::new();
    lake.load("l1", 0, &[("I", 1, None, Some(1), 0)]);
    lake.seed("s1").await.unwrap();
    lake.seed("s2").await.unwrap();
    let load = lake.silver_folder().join("g=s1");
    assert!(load.exists());
    let mut manifest = lake.read_manifest("l1");
    manifest.run_id = "l0".to_owned();
    manifest.load_ended = manifest.load_ended.plus_seconds(1);
    lake.load("l0", 0, &[("I", 1, None, Some(1), 0)]);
    lake.manifest(&manifest);
    assert_eq!(lake.seed("s3").await.unwrap_err().error, "LoadOlder");
    let timeline = load.join(".hoodie/timeline");
    let entries = std::fs::read_dir(&timeline).unwrap();
    let entries = entries.map(|entry| entry.unwrap().path());
    for old in entries.chain([timeline.clone()]) {
        let old = std::fs::File::open(old).unwrap();
        old.set_modified(std::time::SystemTime::now() - 8 * super::GENERATIONS_KEPT / 7)
            .unwrap();
    }
    lake.load("l2", 9, &[("I", 1, None, Some(2), 0)]);
    lake.seed("s4").await.unwrap();
    assert!(!load.exists(), "older than seven days");
    assert!(lake.silver_folder().join("g=s2").exists(), "the one before");
}

#[tokio::test]
async fn one_process_writes_a_table() {
    let lake = Lake::new();
    lake.load("l1", 0, &[("I", 1, None, Some(1), 0)]);
    let held = crate::silver::Silver::lock(&lake.local, &lake.work)
        .await
        .unwrap();
    assert_eq!(lake.seed("s1").await.unwrap_err().error, "TableBusy");
    drop(held);
    lake.seed("s1").await.unwrap();
}

#[tokio::test]
async fn an_empty_load_becomes_a_table_that_can_be_read() {
    let lake = Lake::new();
    lake.load("l1", 0, &[]);
    let report = lake.seed("s1").await.unwrap();
    assert_eq!((report.rows, report.rows_after), (0, Some(0)));
    let folder = lake.published().await;
    let batches: Vec<_> = hudi::read(&folder, None)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert!(batches.is_empty());
    let schema = hudi::open(&folder).await.unwrap().schema().await.unwrap();
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(
        names,
        ["Op", "id", "city", "v", "trx_seq", "_hoodie_is_deleted"]
    );
}
