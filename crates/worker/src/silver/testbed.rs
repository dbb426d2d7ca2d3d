//! A lake of one silver table for tests: hand-made loads, change files and capture state, and the ledger of a home of its own.

use super::{Silver, published};
use crate::context::{Guard, Silent};
use crate::failure::Failure;
use crate::hudi::{self, RECORD_KEY};
use crate::job::Job;
use crate::secret::Secrets;
use crate::store::{self, Location};
use crate::{merge, seed};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{Field, Int32Type, Int64Type, Schema};
use futures::TryStreamExt;
use local::Local;
use parquet::arrow::ArrowWriter;
use pipeline::config::table::HudiConfig;
use pipeline::hudi_options;
use pipeline::path::{CAPTURE_FILE, MANIFEST_FILE, TableName, Zones};
use pipeline::plan::{
    Capture, CaptureKind, ClusterSpec, Engine, Next, Notify, OnStepFailure, Partitioning,
    PipelineKind, Plan, Policy, Source, TableType, TableWork, Target, WriteOperation,
};
use pipeline::position::{CaptureIdentity, CaptureState, Manifest, ManifestFile, Position};
use pipeline::report::StepReport;
use pipeline::seq::ChangeSeq;
use pipeline::time::Timestamp;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The moment of the load; capture is an hour ahead of it.
pub const NOON: Timestamp = Timestamp(1_764_000_000_000);
pub const EPOCH: &str = "epoch-1";

/// The nth change after the load.
pub fn seq(n: u64) -> ChangeSeq {
    ChangeSeq::new(NOON, n)
}

pub struct Lake {
    pub local: Local,
    pub plan: Plan,
    pub work: TableWork,
    _folder: tempfile::TempDir,
}

/// A row of a load or a change: operation, key, city, value, number of the change.
pub type Row<'a> = (&'a str, i32, Option<&'a str>, Option<i64>, u64);

/// Rows of the table by key.
pub type Rows = BTreeMap<i32, (Option<String>, Option<i64>)>;

/// Lets so many commits happen, then says that the run was cancelled.
pub struct Commits(pub Cell<u32>);

impl Guard for Commits {
    async fn may_commit(&self) -> Result<(), Failure> {
        match self.0.get() {
            0 => Err(Failure::new("Cancelled", "run `r` was cancelled")),
            left => {
                self.0.set(left - 1);
                Ok(())
            }
        }
    }
}

pub fn free() -> Commits {
    Commits(Cell::new(u32::MAX))
}

pub fn quick() -> merge::Limits {
    merge::Limits {
        capture_wait: Duration::ZERO,
        capture_poll: Duration::ZERO,
        round_poll: Duration::ZERO,
        ..merge::Limits::USUAL
    }
}

impl Lake {
    /// A table `public.orders (id, city, v)` with the key `id`.
    pub fn new() -> Self {
        Self::keyed(&["id"], Partitioning::None)
    }

    pub fn partitioned() -> Self {
        Self::keyed(&["id"], Partitioning::By(vec!["city".to_owned()]))
    }

    pub fn keyed(primary_key: &[&str], partitioning: Partitioning) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let local = Local::open(&folder.path().join("home")).unwrap();
        let zone = |name: &str| format!("file://{}/a lake/{name}", folder.path().display());
        let zones = Zones {
            bronze: zone("bronze"),
            silver: zone("silver"),
            gold: zone("gold"),
            runtime: zone("runtime"),
        };
        let source = TableName {
            schema: "public".to_owned(),
            table: "orders".to_owned(),
        };
        let hudi = HudiConfig {
            primary_key: primary_key.iter().map(ToString::to_string).collect(),
            partitioning: partitioning.clone(),
            partition_extractor_class: None,
            table_type: TableType::CopyOnWrite,
            operation: WriteOperation::Upsert,
            transformer: None,
        };
        let target_table = "shop_public_orders".to_owned();
        let work = TableWork {
            identifier: "shop".to_owned(),
            loads: zones.loads("shop", &source),
            changes: zones.changes("shop", &source),
            silver: zones.silver_table(&target_table),
            hudi_options: hudi_options::table(&target_table, &hudi),
            primary_key: hudi.primary_key,
            operation: WriteOperation::Upsert,
            table_type: TableType::CopyOnWrite,
            partitioning,
            source,
            target_table,
        };
        let lake = Self {
            local,
            plan: plan(zones),
            work,
            _folder: folder,
        };
        lake.capture(EPOCH, NOON.plus_seconds(3600));
        lake
    }

    fn folder(&self, uri: &str) -> PathBuf {
        store::disk::path(uri).unwrap()
    }

    pub fn changes_folder(&self) -> PathBuf {
        self.folder(&self.work.changes)
    }

    pub fn silver_folder(&self) -> PathBuf {
        self.folder(&self.work.silver)
    }

    /// A complete load of run `load`, at noon plus so many seconds.
    pub fn load(&self, run_id: &str, seconds: i64, rows: &[Row<'_>]) {
        self.load_batch(run_id, seconds, &batch(rows));
    }

    pub fn load_batch(&self, run_id: &str, seconds: i64, batch: &RecordBatch) {
        let folder = self.folder(&self.work.loads).join(format!("run={run_id}"));
        let bytes = write(&folder.join("part-0.parquet"), batch);
        let at = NOON.plus_seconds(seconds);
        let manifest = Manifest {
            schema_version: 1,
            run_id: run_id.to_owned(),
            table: self.work.source.to_string(),
            rows: batch.num_rows() as u64,
            bytes,
            files: vec![ManifestFile {
                name: "part-0.parquet".to_owned(),
                rows: batch.num_rows() as u64,
                bytes,
            }],
            t0: ChangeSeq::new(at, 0),
            snapshot: "1:1:".to_owned(),
            load_ended: at.plus_seconds(10),
            wal_lsn: "0/1".to_owned(),
            slot_lsn: None,
            epoch: Some(EPOCH.to_owned()),
            primary_key: vec!["id".to_owned()],
            columns: Vec::new(),
            nulled: BTreeMap::new(),
        };
        self.manifest(&manifest);
    }

    pub fn manifest(&self, manifest: &Manifest) {
        let folder = self
            .folder(&self.work.loads)
            .join(format!("run={}", manifest.run_id));
        store::disk::put(
            &folder.join(MANIFEST_FILE),
            &serde_json::to_vec(manifest).unwrap(),
        )
        .unwrap();
    }

    pub fn read_manifest(&self, run_id: &str) -> Manifest {
        let folder = self.folder(&self.work.loads).join(format!("run={run_id}"));
        serde_json::from_slice(&std::fs::read(folder.join(MANIFEST_FILE)).unwrap()).unwrap()
    }

    /// The nth change file.
    pub fn changes(&self, nth: u32, rows: &[Row<'_>]) -> PathBuf {
        self.changes_batch(nth, &batch(rows))
    }

    pub fn changes_batch(&self, nth: u32, batch: &RecordBatch) -> PathBuf {
        let path = self
            .changes_folder()
            .join(format!("20271124/20271124-{nth:09}.parquet"));
        write(&path, batch);
        path
    }

    pub fn capture(&self, epoch: &str, heartbeat: Timestamp) {
        self.capture_state(&CaptureState {
            schema_version: 1,
            epoch: epoch.to_owned(),
            slot: "headwater".to_owned(),
            heartbeat,
            flushed_lsn: "0/1".to_owned(),
            started: NOON,
            last_seq: seq(0),
            needs_reseed: BTreeMap::new(),
            tables: vec![self.work.source.to_string()],
            identity: CaptureIdentity::default(),
        });
    }

    pub fn capture_state(&self, state: &CaptureState) {
        let path = self
            .folder(&self.plan.zones.changes_root("shop"))
            .join(CAPTURE_FILE);
        store::disk::put(&path, &serde_json::to_vec(state).unwrap()).unwrap();
    }

    pub fn read_capture(&self) -> CaptureState {
        let path = self
            .folder(&self.plan.zones.changes_root("shop"))
            .join(CAPTURE_FILE);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    pub async fn seed(&self, run_id: &str) -> Result<StepReport, Failure> {
        self.seed_guarded(run_id, &free()).await
    }

    pub async fn seed_guarded(
        &self,
        run_id: &str,
        guard: &impl Guard,
    ) -> Result<StepReport, Failure> {
        seed::run(&self.local, &self.job(run_id), &self.work, guard, &Silent).await
    }

    pub async fn merge(&self) -> Result<StepReport, Failure> {
        self.merge_guarded(&free(), &quick()).await
    }

    pub async fn merge_guarded(
        &self,
        guard: &impl Guard,
        limits: &merge::Limits,
    ) -> Result<StepReport, Failure> {
        merge::run_within(
            &self.local,
            &self.job("merge"),
            &self.work,
            guard,
            &Silent,
            limits,
        )
        .await
    }

    pub fn job<'a>(&'a self, run_id: &'a str) -> Job<'a> {
        Job {
            run_id,
            plan: &self.plan,
            secrets: Secrets::Folder(Path::new("/nowhere")),
        }
    }

    pub async fn position(&self) -> Position {
        tasks::position::read(&self.local, &self.work.silver)
            .await
            .unwrap()
            .unwrap()
            .value
    }

    /// Writes a position, as a killed worker would have left it.
    pub async fn set_position(&self, position: &Position) {
        let mut silver = Silver::lock(&self.local, &self.work).await.unwrap();
        silver.write(position).await.unwrap();
    }

    pub async fn published(&self) -> Location {
        published(&self.work, &self.position().await)
            .unwrap()
            .unwrap()
    }

    pub async fn batches(&self) -> Vec<RecordBatch> {
        let folder = self.published().await;
        hudi::read(&folder, None)
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap()
    }

    /// The table's rows; each key is there once, and in the partition that its row says.
    pub async fn rows(&self) -> Rows {
        let mut rows = Rows::new();
        for batch in self.batches().await {
            let ids = batch["id"].as_primitive::<Int32Type>();
            let cities = batch["city"].as_string::<i32>();
            let values = batch["v"].as_primitive::<Int64Type>();
            let partitions = batch["_hoodie_partition_path"].as_string::<i32>();
            for row in 0..batch.num_rows() {
                let city = cities.is_valid(row).then(|| cities.value(row).to_owned());
                if self.work.partitioning != Partitioning::None {
                    let expected = city.as_deref().unwrap_or("__HIVE_DEFAULT_PARTITION__");
                    assert_eq!(partitions.value(row), format!("city={expected}"));
                }
                let value = values.is_valid(row).then(|| values.value(row));
                let before = rows.insert(ids.value(row), (city, value));
                assert_eq!(before, None, "key {} is there twice", ids.value(row));
            }
            assert!(batch.column_by_name(RECORD_KEY).is_some());
        }
        rows
    }
}

/// Rows as a test writes them.
pub fn rows(rows: &[(i32, Option<&str>, Option<i64>)]) -> Rows {
    rows.iter()
        .map(|(id, city, v)| (*id, (city.map(str::to_owned), *v)))
        .collect()
}

/// `Op`, the columns, `trx_seq`, `_hoodie_is_deleted`.
pub fn batch(rows: &[Row<'_>]) -> RecordBatch {
    with_marks(
        rows.iter().map(|row| row.0).collect(),
        rows.iter().map(|row| row.4).collect(),
        vec![
            (
                "id",
                Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Int32Array>()),
            ),
            (
                "city",
                Arc::new(rows.iter().map(|row| row.2).collect::<StringArray>()),
            ),
            (
                "v",
                Arc::new(rows.iter().map(|row| row.3).collect::<Int64Array>()),
            ),
        ],
    )
}

/// Columns between what capture puts around them.
pub fn with_marks(ops: Vec<&str>, seqs: Vec<u64>, columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let deleted: BooleanArray = ops.iter().map(|op| Some(*op == "D")).collect();
    let seqs: StringArray = seqs
        .iter()
        .map(|n| Some(seq(*n).as_str().to_owned()))
        .collect();
    let mut all: Vec<(&str, ArrayRef)> = vec![("Op", Arc::new(StringArray::from(ops)))];
    all.extend(columns);
    all.push(("trx_seq", Arc::new(seqs)));
    all.push(("_hoodie_is_deleted", Arc::new(deleted)));
    let fields: Vec<Field> = all
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = all.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn write(path: &Path, batch: &RecordBatch) -> u64 {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    std::fs::metadata(path).unwrap().len()
}

fn plan(zones: Zones) -> Plan {
    Plan {
        schema_version: 1,
        identifier: "shop".to_owned(),
        pipeline: "incremental_hudi".to_owned(),
        kind: PipelineKind::IncrementalHudi,
        engine: Engine::Native,
        target: Target::Local,
        zones,
        source: Source {
            secret: "shop".to_owned(),
            db: "shop".to_owned(),
            capture: Capture {
                kind: CaptureKind::Headwater,
                slot: "headwater".to_owned(),
                task: None,
            },
            changes_follow: true,
            capture_silent_minutes: 30,
            clock_skew_minutes: 0,
        },
        policy: Policy {
            on_step_failure: OnStepFailure::Continue,
            notify: Notify::Changes,
            overlap: None,
            allowed_concurrent: Vec::new(),
            timeout_minutes: 60,
            queue_minutes: 60,
        },
        cluster: ClusterSpec {
            step_concurrency: 1,
            idle_timeout_seconds: 60,
            run_job_flow: serde_json::Value::Null,
        },
        steps: Vec::new(),
        faulty: Vec::new(),
        disabled: Vec::new(),
        not_applicable: Vec::new(),
        writes: Vec::new(),
        next: Next::Stop,
        generation: String::new(),
        code: BTreeMap::new(),
    }
}

/// A program in the place of spark-submit. It writes its arguments to `told` beside itself, one in a line, and then does this.
pub struct SparkProgram {
    folder: tempfile::TempDir,
}

impl SparkProgram {
    pub fn doing(what: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spark-submit");
        let script =
            format!("#!/bin/sh\nprintf '%s\\n' \"$@\" >\"$(dirname \"$0\")/told\"\n{what}\n");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    /// Its name, then these.
    pub fn arguments(&self, others: &[&str]) -> Vec<String> {
        let program = self.folder.path().join("spark-submit");
        let others = others.iter().map(|argument| (*argument).to_owned());
        std::iter::once(program.display().to_string())
            .chain(others)
            .collect()
    }

    /// What it was given when it was last run, if it was.
    pub fn told(&self) -> Option<String> {
        std::fs::read_to_string(self.folder.path().join("told")).ok()
    }
}
