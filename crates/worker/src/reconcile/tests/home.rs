//! A home folder, a real Postgres, and silver in memory: what can be compared, and what is said where it cannot.

use super::{Memory, loaded};
use crate::failure::Failure;
use crate::reconcile::Refusal;
use crate::reconcile::lake;
use crate::reconcile::report::{Status, TableReport};
use crate::reconcile::rounds::{self, Lake, Mode};
use crate::reconcile::scope::Scope;
use crate::reconcile::silver::Batches;
use crate::test_postgres::{Database, postgres};
use arrow::array::{Array, ArrayRef, BooleanArray, StringArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use local::Local;
use pipeline::path::CAPTURE_FILE;
use pipeline::plan::{Engine, TableWork};
use pipeline::position::{Applied, CaptureState, Position, Seed};
use pipeline::seq::ChangeSeq;
use pipeline::time::Timestamp;
use serde_json::{Value, json};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const T0: Timestamp = Timestamp(1_767_268_800_000);
const PASSED: &str = "FFFFFFFF/0";
const MERGED: &str = "20260101/20260101-120001000.parquet";
const UNMERGED: &str = "20260101/20260101-120002000.parquet";

fn items(capture: &str, table: &str) -> Vec<Value> {
    let item = |config: &str, rest: Value| {
        let mut item = json!({"identifier": "shop", "config": config});
        item.as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        item
    };
    vec![
        item(
            "database::config",
            json!({"secret": "shop", "target_db_name": "lake", "target_table_prefix": "shop", "capture": {"kind": capture}}),
        ),
        item("pipeline::system::incremental_hudi", json!({})),
        item(
            &format!("step::system::public.{table}"),
            json!({"enabled": true, "hudi_config": {"primary_key": "id", "watermark": "trx_seq", "is_partitioned": false}}),
        ),
        item("step::system::public.loaded_only", json!({"enabled": true})),
    ]
}

/// Silver whose states follow each other with every opening, and a merge that ends during the first.
struct Fake<'a> {
    states: Vec<RecordBatch>,
    opened: AtomicUsize,
    merging: Option<&'a Shop>,
}

impl Lake for Fake<'_> {
    async fn open(
        &self,
        _table: &TableWork,
        _position: &Position,
    ) -> Result<(SchemaRef, impl Batches), Failure> {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        if let Some(shop) = self.merging.filter(|_| number == 0) {
            shop.position(UNMERGED).await;
        }
        let batch = &self.states[number.min(self.states.len() - 1)];
        Ok((batch.schema(), Memory(batch.clone())))
    }
}

struct Shop {
    folder: tempfile::TempDir,
    database: Database,
    table: &'static str,
}

impl Shop {
    async fn new(capture: &str) -> Self {
        let database = postgres().database().await;
        let sql = "CREATE TABLE items (id int PRIMARY KEY, name text); INSERT INTO items VALUES (1, 'one'), (2, NULL)";
        database.client.batch_execute(sql).await.unwrap();
        Self::of(database, "items", capture).await
    }

    async fn of(database: Database, table: &'static str, capture: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let local = Local::open(folder.path()).unwrap();
        local
            .replace_config("shop", &items(capture, table))
            .unwrap();
        let secret = &database.secret;
        let secret = json!({"username": secret.username, "password": secret.password, "engine": "postgres",
            "host": secret.host, "port": secret.port, "dbname": secret.dbname});
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(local.home().secrets().join("shop.json"))
            .unwrap();
        serde_json::to_writer(file, &secret).unwrap();
        let shop = Self {
            folder,
            database,
            table,
        };
        shop.position(MERGED).await;
        shop
    }

    fn home(&self) -> &Path {
        self.folder.path()
    }

    async fn scope(&self) -> Scope {
        let scope = Scope::open(self.home(), "shop", &[]).await;
        scope.expect("a scope")
    }

    async fn position(&self, file: &str) {
        let scope = self.scope().await;
        let silver = &scope.tables[0].1.silver;
        let before = tasks::position::read(&scope.local, silver).await.unwrap();
        let position = Position {
            schema_version: 1,
            epoch: Some("e".into()),
            seed: Some(Seed {
                run_id: "seed".into(),
                load_run_id: "load".into(),
                t0: ChangeSeq::new(T0, 0),
                load_ended: T0,
                rows: 2,
            }),
            applied: Some(Applied {
                file: file.into(),
                trx_seq: ChangeSeq::new(T0, 1),
                instant: None,
                rows: 1,
            }),
            complete_through: None,
            engine: Engine::Native,
            pending: None,
            needs_reseed: None,
        };
        tasks::position::write(&scope.local, silver, before.as_ref(), &position)
            .await
            .unwrap();
    }

    async fn captured(&self, flushed_lsn: &str) {
        let scope = self.scope().await;
        let state = CaptureState {
            schema_version: 1,
            epoch: "e".into(),
            slot: "s".into(),
            heartbeat: T0,
            flushed_lsn: flushed_lsn.into(),
            started: T0,
            last_seq: ChangeSeq::new(T0, 9),
            needs_reseed: Default::default(),
            tables: vec![format!("public.{}", self.table)],
            identity: Default::default(),
        };
        let root = scope.plan.zones.changes_root(&scope.plan.source.db);
        let path = crate::store::disk::path(&format!("{root}/{CAPTURE_FILE}")).unwrap();
        crate::store::disk::put(&path, &serde_json::to_vec(&state).unwrap()).unwrap();
    }

    async fn change_file(&self, name: &str) {
        let scope = self.scope().await;
        let path =
            crate::store::disk::path(&format!("{}/{name}", scope.tables[0].1.changes)).unwrap();
        crate::store::disk::put(&path, b"").unwrap();
    }

    async fn silver(&self) -> RecordBatch {
        loaded(&self.database, self.table).await
    }

    async fn compare(&self, lake: &impl Lake, mode: Mode, wait_seconds: u64) -> TableReport {
        let wait = Duration::from_secs(wait_seconds);
        let scope = self.scope().await;
        let mut reports = rounds::run(&scope, lake, mode, wait).await.unwrap();
        assert_eq!(reports.len(), 1);
        reports.remove(0)
    }
}

fn silver<'a>(states: Vec<RecordBatch>) -> Fake<'a> {
    Fake {
        states,
        opened: AtomicUsize::new(0),
        merging: None,
    }
}

#[tokio::test]
async fn a_table_whose_changes_are_all_merged_is_compared() {
    let shop = Shop::new("headwater").await;
    shop.captured(PASSED).await;
    shop.change_file(MERGED).await;
    let lake = silver(vec![shop.silver().await]);
    for mode in [Mode::Counts, Mode::Deep] {
        let report = shop.compare(&lake, mode, 0).await;
        assert_eq!(report.status, Status::Equal);
        assert_eq!((report.rows_source, report.rows_silver), (Some(2), Some(2)));
    }
    let sql = "UPDATE items SET name = 'two' WHERE id = 2; INSERT INTO items VALUES (3)";
    shop.database.client.batch_execute(sql).await.unwrap();
    let report = shop.compare(&lake, Mode::Deep, 0).await;
    assert_eq!(
        (report.status, report.differences_total),
        (Status::Different, 2)
    );
    let report = shop.compare(&lake, Mode::Counts, 0).await;
    assert_eq!(
        (report.status, report.differences_total),
        (Status::Different, 1)
    );
}

/// Puts rows into the Hudi table that the position names.
async fn publish(work: &TableWork, rows: RecordBatch) {
    let mut fields = rows.schema().fields().to_vec();
    let mut arrays = rows.columns().to_vec();
    for (name, array) in [
        (
            "trx_seq",
            Arc::new(StringArray::from(vec!["0"; rows.num_rows()])) as ArrayRef,
        ),
        (
            "_hoodie_is_deleted",
            Arc::new(BooleanArray::from(vec![false; rows.num_rows()])),
        ),
    ] {
        fields.push(Arc::new(Field::new(name, array.data_type().clone(), true)));
        arrays.push(array);
    }
    let schema = Arc::new(Schema::new(fields));
    let rows = RecordBatch::try_new(schema.clone(), arrays).unwrap();
    let folder = crate::store::disk::path(&work.silver).unwrap();
    let generation = folder.join("g=seed").into();
    let mut table = crate::hudi::create(&generation, &work.hudi_options, &schema)
        .await
        .unwrap();
    table.append(vec![rows]).await.unwrap();
}

#[tokio::test]
async fn every_type_passes_through_a_hudi_table_unharmed() {
    let shop = Shop::of(super::all_types().await, "kept", "headwater").await;
    shop.captured(PASSED).await;
    let rows = shop.silver().await;
    publish(&shop.scope().await.tables[0].1, rows).await;
    for mode in [Mode::Counts, Mode::Deep] {
        let report = shop.compare(&lake::Silver, mode, 0).await;
        assert_eq!((report.differences, report.reason), (vec![], None));
        assert_eq!(report.status, Status::Equal);
    }
    let sql = "UPDATE kept SET c0 = NOT c0 WHERE id = 1";
    shop.database.client.batch_execute(sql).await.unwrap();
    let report = shop.compare(&lake::Silver, Mode::Deep, 0).await;
    assert_eq!(
        (report.status, report.differences_total),
        (Status::Different, 1)
    );
}

#[tokio::test]
async fn columns_that_are_not_compared_are_mentioned() {
    let shop = Shop::new("headwater").await;
    shop.captured(PASSED).await;
    let sql = "ALTER TABLE items ADD twice int GENERATED ALWAYS AS (id * 2) STORED";
    let rows = shop.silver().await;
    let last = rows.schema().field(rows.num_columns() - 1).clone();
    shop.database.client.batch_execute(sql).await.unwrap();
    let sql = format!("ALTER TABLE items DROP COLUMN {}", last.name());
    shop.database.client.batch_execute(&sql).await.unwrap();
    let report = shop.compare(&silver(vec![rows]), Mode::Deep, 0).await;
    assert_eq!(report.status, Status::Equal);
    let expected = [
        "not compared, because the source generates, and nothing carries: `twice`".to_owned(),
        format!("not compared, because only silver has: `{}`", last.name()),
    ];
    assert_eq!(report.notes, expected);
}

#[tokio::test]
async fn what_is_not_there_yet_is_not_comparable_and_says_what_helps() {
    let shop = Shop::new("headwater").await;
    let lake = silver(vec![shop.silver().await]);
    let told = async |reason: &str, hint: &str| {
        let report = shop.compare(&lake, Mode::Deep, 0).await;
        assert_eq!(report.status, Status::NotComparable);
        let found = (report.reason.unwrap(), report.hint.unwrap());
        assert!(found.0.starts_with(reason) && found.1 == hint, "{found:?}");
    };
    let start = "headwater capture start --identifier shop";
    told("capture has never run", start).await;
    shop.captured("0/1").await;
    told("capture has not written all that was committed", start).await;
    shop.captured(PASSED).await;
    shop.change_file(UNMERGED).await;
    let merge = "headwater run --identifier shop --pipeline incremental_hudi";
    told("change files that are not merged into it: 1", merge).await;
    assert_eq!(lake.opened.into_inner(), 0);
}

#[tokio::test]
async fn a_merge_that_ends_while_silver_is_read_is_compared_anew() {
    let shop = Shop::new("headwater").await;
    shop.captured(PASSED).await;
    let before = shop.silver().await;
    let sql = "DELETE FROM items WHERE id = 1";
    shop.database.client.batch_execute(sql).await.unwrap();
    let mut lake = silver(vec![before, shop.silver().await]);
    lake.merging = Some(&shop);
    let report = shop.compare(&lake, Mode::Deep, 60).await;
    assert_eq!(
        (report.status, report.rows_silver),
        (Status::Equal, Some(1))
    );
    assert_eq!(lake.opened.into_inner(), 2);
}

#[tokio::test]
async fn without_capture_equal_is_equal_and_a_difference_proves_nothing() {
    let shop = Shop::new("none").await;
    let lake = silver(vec![shop.silver().await]);
    let report = shop.compare(&lake, Mode::Deep, 0).await;
    assert_eq!(report.status, Status::Equal);
    let sql = "DELETE FROM items WHERE id = 1";
    shop.database.client.batch_execute(sql).await.unwrap();
    let report = shop.compare(&lake, Mode::Deep, 0).await;
    assert_eq!(
        (report.status, report.differences_total),
        (Status::NotComparable, 1)
    );
}

#[tokio::test]
async fn a_name_that_is_unknown_is_wrong_usage() {
    let shop = Shop::new("headwater").await;
    for (identifier, table, expected) in [
        (
            "shp",
            None,
            "identifier is unknown: `shp`, did you mean `shop`?",
        ),
        (
            "shop",
            Some("public.item"),
            "table is unknown: `public.item`, did you mean `public.items`?",
        ),
        (
            "shop",
            Some("public.loaded_only"),
            "`public.loaded_only` has no silver: the item has no `hudi_config`: the table can only be loaded",
        ),
    ] {
        let tables: Vec<String> = table.into_iter().map(str::to_owned).collect();
        match Scope::open(shop.home(), identifier, &tables).await {
            Err(Refusal::Usage(message, hint)) => {
                let hint = hint.map(|hint| format!(", {hint}")).unwrap_or_default();
                assert_eq!(message + &hint, expected);
            }
            Err(Refusal::Failed(failure)) => panic!("{failure}"),
            Ok(_) => panic!("{expected}"),
        }
    }
}
