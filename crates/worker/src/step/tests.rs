//! The steps of a table on this machine and in a stack: the same plan, the same rows, the same results.

use super::{Arguments, attempt};
use crate::hudi;
use crate::silver::{published, testbed};
use crate::store::{Location, NewFile, location};
use crate::test_moto::moto;
use crate::test_postgres::{Database, postgres};
use crate::world::World;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use aws::Aws;
use aws::resources::Resources;
use futures::TryStreamExt;
use local::Local;
use parquet::arrow::ArrowWriter;
use pgwire_replication::{ReplicationClient, ReplicationConfig};
use pipeline::deployment::Deployment;
use pipeline::path::TableName;
use pipeline::plan::{Frozen, PLAN_SCHEMA_VERSION, StepWork, TableWork};
use pipeline::planning::{PlanRequest, plan};
use pipeline::position::Position;
use pipeline::report::{StepOutcome, StepReport};
use pipeline::run::{FileRef, Run, RunStatus};
use pipeline::seq::ChangeSeq;
use pipeline::time::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use tasks::port::{Clock, Ledger, Objects};
use tasks::record;

/// Slots are the server's: the name is this test's own.
const SLOT: &str = "places_test";
const SECRET: &str = "shop/database";
/// All files and heartbeats of these tests are of this day, long after any load.
const LATER: Timestamp = Timestamp(3_765_000_000_000);

fn items(secret: &str) -> Vec<Value> {
    let item = |config: &str, rest: Value| {
        let mut item = json!({"identifier": "shop", "config": config});
        let object = item.as_object_mut().expect("an object");
        object.extend(rest.as_object().expect("an object").clone());
        item
    };
    let native = || json!({"engine": "native"});
    vec![
        item(
            "database::config",
            json!({"secret": secret, "target_db_name": "lake", "target_table_prefix": "shop",
                "capture": {"kind": "dms", "slot": SLOT, "task": "arn:task"}}),
        ),
        item("pipeline::system::jdbc_load", native()),
        item("pipeline::system::seed_hudi", native()),
        item("pipeline::system::incremental_hudi", native()),
        item(
            "step::system::public.orders",
            json!({"enabled": true, "hudi_config": {"primary_key": "id", "watermark": "trx_seq",
                "is_partitioned": true, "partition_path": "city"}}),
        ),
    ]
}

/// One of the places where the same steps run.
struct Place {
    world: Arc<World>,
    deployment: Deployment,
    secret: &'static str,
    _folder: tempfile::TempDir,
}

impl Place {
    fn here(database: &Database) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("a home");
        let local = Local::open(&home).expect("a home");
        let secret = local.home().secrets().join("shop%2Fdatabase.json");
        let mut options = std::fs::OpenOptions::new();
        let file = options.create(true).truncate(true).write(true).mode(0o600);
        serde_json::to_writer(file.open(secret).expect("a file"), &secret_of(database))
            .expect("written");
        Self {
            deployment: local.deployment(),
            world: Arc::new(World::of(local)),
            secret: SECRET,
            _folder: folder,
        }
    }

    async fn on_aws(database: &Database) -> Self {
        let text = secret_of(database).to_string();
        moto().call(
            "secretsmanager.CreateSecret",
            &json!({"Name": SECRET, "SecretString": text}),
        );
        Self::in_stack(SECRET).await
    }

    async fn in_stack(secret: &'static str) -> Self {
        let moto = moto();
        let ledger_table = moto.ledger();
        let example = include_str!("../../../../examples/tpcc/deployment.json");
        let mut deployment: Value = serde_json::from_str(example).expect("JSON");
        deployment["ledger_table"] = json!(ledger_table);
        for zone in ["bronze", "silver", "gold", "runtime"] {
            deployment["zones"][zone] = json!(moto.bucket());
        }
        let resources = |name: &str| match name {
            "HEADWATER_LEDGER_TABLE" => Some(ledger_table.clone()),
            _ => Some("test".to_owned()),
        };
        let resources = Resources::from_environment(aws::resources::WORKER_NEEDS, resources)
            .expect("all is there");
        Self {
            world: Arc::new(World::Aws(Box::new(Aws::new(
                moto.config().await,
                resources,
            )))),
            deployment: Deployment::parse(&deployment).expect("a deployment"),
            secret,
            _folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// A run of a pipeline that was admitted, with its plan beside it.
    async fn admitted(&self, run_id: &str, pipeline: &str) -> (Frozen, FileRef) {
        let request = PlanRequest {
            identifier: "shop".to_owned(),
            pipeline: pipeline.to_owned(),
            engine: None,
        };
        let frozen = Frozen {
            schema_version: PLAN_SCHEMA_VERSION,
            run_id: run_id.to_owned(),
            root_run_id: run_id.to_owned(),
            only: None,
            plan: plan(&items(self.secret), &self.deployment, &request).expect("a plan"),
        };
        let bytes = serde_json::to_vec(&frozen).expect("JSON");
        let file = FileRef {
            uri: frozen.plan.zones.run_file(run_id, "plan.json"),
            sha256: format!("{:x}", Sha256::digest(&bytes)),
        };
        self.world.put(&file.uri, &bytes).await.expect("put");
        let run = self.run(run_id, pipeline, &file);
        let write = record::create(record::run(run_id), &run);
        self.world.write(&[write]).await.expect("written");
        (frozen, file)
    }

    fn run(&self, run_id: &str, pipeline: &str, plan: &FileRef) -> Run {
        serde_json::from_value(json!({
            "schema_version": 1, "run_id": run_id, "owner_execution": run_id, "status": RunStatus::Admitted,
            "received": self.world.now(), "queue_until": null, "admitted": self.world.now(), "fence": 1,
            "deadline": null, "plan": plan, "kind": null, "notify": null, "work": null, "clusters": [],
            "cancel": null, "cause": null, "skip": null, "outcome": null, "closing": null, "ended": null,
            "input": {"identifier": "shop", "pipeline": pipeline, "trigger": {"kind": "manual", "id": run_id}},
        }))
        .expect("a run")
    }

    /// One attempt of the only step of a run, and its result in the ledger.
    async fn attempted(&self, run_id: &str, file: &FileRef) -> StepOutcome {
        let arguments = Arguments {
            plan: file.uri.clone(),
            sha256: file.sha256.clone(),
            index: 0,
            attempt: 1,
            home: None,
        };
        attempt(self.world.clone(), arguments)
            .await
            .unwrap_or_else(|failure| panic!("{}", failure.text()));
        let mut results = record::results(&*self.world, run_id).await.expect("read");
        assert_eq!(results.len(), 1);
        results.remove(0).value.outcome
    }

    async fn done(&self, run_id: &str, pipeline: &str) -> StepReport {
        let (_, file) = self.admitted(run_id, pipeline).await;
        match self.attempted(run_id, &file).await {
            StepOutcome::Succeeded(report) => report,
            StepOutcome::Failed(failure) => panic!("{run_id}: {failure:?}"),
        }
    }

    /// The table as the merge's plan has it.
    fn work(&self) -> TableWork {
        let request = PlanRequest {
            identifier: "shop".to_owned(),
            pipeline: "incremental_hudi".to_owned(),
            engine: None,
        };
        let plan = plan(&items(self.secret), &self.deployment, &request).expect("a plan");
        match &plan.steps[0].work {
            StepWork::Merge(work) => work.clone(),
            other => panic!("no merge: {other:?}"),
        }
    }

    /// As DMS writes: the nth file of changes, and a change of its heartbeat.
    fn changed(&self, nth: u32, rows: &[testbed::Row<'_>]) {
        let at = |n: u64| ChangeSeq::new(LATER, n).as_str().to_owned();
        let batch = testbed::batch(rows);
        let seqs: StringArray = rows.iter().map(|row| Some(at(row.4))).collect();
        let columns = batch.schema_ref().fields().iter().zip(batch.columns());
        let columns = columns.map(|(field, column)| match field.name().as_str() {
            "trx_seq" => ("trx_seq", Arc::new(seqs.clone()) as ArrayRef),
            name => (name, column.clone()),
        });
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let name = format!("20890422/20890422-0000{nth:05}.parquet");
        let changes = location(&self.work().changes).expect("a place");
        write(&changes.join(&name), &batch);
        let heartbeat = TableName {
            schema: "headwater".to_owned(),
            table: "heartbeat".to_owned(),
        };
        let zones = self.deployment.zones_of("shop");
        let folder = location(&zones.changes("shop", &heartbeat)).expect("a place");
        write(&folder.join(&name), &testbed::batch(&[]));
    }

    async fn position(&self) -> Position {
        let position = tasks::position::read(&*self.world, &self.work().silver).await;
        position.expect("read").expect("a position").value
    }

    /// Every column of every row that does not depend on the moment, as text, by key.
    async fn rows(&self) -> BTreeMap<String, String> {
        let table = published(&self.work(), &self.position().await)
            .expect("a place")
            .expect("a seed");
        let batches: Vec<RecordBatch> = hudi::read(&table, None)
            .await
            .expect("opened")
            .try_collect()
            .await
            .expect("read");
        let mut rows = BTreeMap::new();
        for batch in batches {
            for row in 0..batch.num_rows() {
                let text = |name: &str| {
                    let options = FormatOptions::default().with_null("NULL");
                    let mut column = batch.column_by_name(name).expect(name).clone();
                    if name == "at" {
                        column = cast(&column, &DataType::Int64).expect("microseconds");
                    }
                    let formatter = ArrayFormatter::try_new(&column, &options).expect("shown");
                    formatter.value(row).to_string()
                };
                let names = [
                    "_hoodie_partition_path",
                    "Op",
                    "city",
                    "v",
                    "price",
                    "at",
                    "_hoodie_is_deleted",
                ];
                let values = names.map(text).join("|");
                let before = rows.insert(text("id"), values);
                assert_eq!(before, None, "a key is there twice");
            }
        }
        rows
    }
}

fn secret_of(database: &Database) -> Value {
    let secret = &database.secret;
    json!({"username": secret.username, "password": secret.password, "engine": secret.engine,
        "host": secret.host, "port": secret.port, "dbname": secret.dbname})
}

fn write(place: &Location, batch: &RecordBatch) {
    let file = NewFile::create(place).expect("begun");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(batch).expect("written");
    let file = writer.into_inner().expect("closed");
    file.commit().expect("committed");
}

/// Reads the slot, as DMS does; until it is dropped.
async fn reader(database: &Database) -> ReplicationClient {
    let secret = &database.secret;
    let create_slot = format!("SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')");
    for sql in ["CREATE PUBLICATION all_tables FOR ALL TABLES", &create_slot] {
        database.client.batch_execute(sql).await.expect("a slot");
    }
    let mut config = ReplicationConfig::new(
        secret.host.as_str(),
        secret.username.as_str(),
        secret.password.as_str(),
        secret.dbname.as_str(),
        SLOT,
        "all_tables",
    );
    config.port = secret.port;
    let mut client = ReplicationClient::connect(config)
        .await
        .expect("a connection");
    client.wait_started().await.expect("a stream");
    client
}

/// What does not depend on the moment.
fn counts(report: &StepReport) -> [u64; 7] {
    [
        report.rows,
        report.inserted,
        report.updated,
        report.deleted,
        report.dropped,
        report.rows_after.unwrap_or_default(),
        report.nulled.values().sum(),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_seed_and_merges_do_the_same_in_a_stack_as_on_this_machine() {
    let database = postgres().database().await;
    database
        .client
        .batch_execute(
            "CREATE TABLE orders (id int PRIMARY KEY, city text, v bigint, price numeric(10,2), at timestamptz);
             INSERT INTO orders SELECT n, (ARRAY['Bonn', 'Köln Süd #1?', NULL])[n % 3 + 1], n * 7, n / 4.0, to_timestamp(n)
             FROM generate_series(1, 3000) n",
        )
        .await
        .expect("tables");
    let _reader = reader(&database).await;
    let here = Place::here(&database);
    let aws = Place::on_aws(&database).await;
    let mut seen = Vec::new();
    for place in [&here, &aws] {
        let mut reports = Vec::new();
        reports.push(place.done("load-1", "jdbc_load").await);
        reports.push(place.done("seed-1", "seed_hudi").await);
        let seeded = place.rows().await;
        place.changed(
            1,
            &[
                ("I", 3001, Some("Ulm"), Some(1), 1),
                ("U", 1, Some("Bonn"), Some(-1), 2),
                ("D", 2, None, None, 3),
            ],
        );
        place.changed(2, &[("U", 3, Some("Ulm"), None, 4)]);
        reports.push(place.done("merge-1", "incremental_hudi").await);
        place.changed(3, &[("D", 3001, None, None, 5), ("D", 9999, None, None, 6)]);
        reports.push(place.done("merge-2", "incremental_hudi").await);
        reports.push(place.done("merge-3", "incremental_hudi").await);
        let merged = place.rows().await;
        // Once more from the start: old loads and generations are looked at, and the table is as the source again.
        reports.push(place.done("load-2", "jdbc_load").await);
        reports.push(place.done("seed-2", "seed_hudi").await);
        assert_eq!(place.rows().await, seeded);
        assert_eq!(place.position().await.pending, None);
        seen.push((
            reports.iter().map(counts).collect::<Vec<_>>(),
            seeded,
            merged,
        ));
    }
    let (reports, seeded, merged) = &seen[0];
    assert_eq!(seeded.len(), 3000);
    assert_eq!(
        reports[2..5],
        [
            [4, 1, 2, 1, 0, 3000, 0],
            [2, 0, 0, 1, 0, 2999, 0],
            [0, 0, 0, 0, 0, 0, 0],
        ]
    );
    assert_eq!(
        merged["3"], "city=Ulm|U|Ulm|NULL|NULL|NULL|false",
        "moved to its new partition"
    );
    assert!(!merged.contains_key("2") && !merged.contains_key("3001"));
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_of_a_stack_is_claimed_once_and_only_while_its_run_may_go_on() {
    let aws = Place::in_stack("no/such/secret").await;
    let (_, file) = aws.admitted("load-1", "jdbc_load").await;
    // Its secret is missing: that is the step's own failure, with a result.
    match aws.attempted("load-1", &file).await {
        StepOutcome::Failed(failure) => assert_eq!(failure.error, "SecretMissing"),
        StepOutcome::Succeeded(report) => panic!("{report:?}"),
    }
    let arguments = |attempt| Arguments {
        plan: file.uri.clone(),
        sha256: file.sha256.clone(),
        index: 0,
        attempt,
        home: None,
    };
    let refused = async |arguments| {
        let failure = attempt(aws.world.clone(), arguments).await;
        failure.expect_err("refused").error
    };
    assert_eq!(refused(arguments(1)).await, "Claimed");
    let mut other = arguments(2);
    other.sha256 = "0".repeat(64);
    assert_eq!(refused(other).await, "PlanUnreadable");
    let run = record::get_run(&*aws.world, "load-1").await.expect("read");
    let mut cancelled = run.value.clone();
    cancelled.cancel = Some(aws.world.now());
    let write = run.replace(&cancelled);
    aws.world.write(&[write]).await.expect("written");
    assert_eq!(refused(arguments(2)).await, "Cancelled");
    let results = record::results(&*aws.world, "load-1").await.expect("read");
    assert_eq!(results.len(), 1, "a refused attempt writes nothing");
}
