//! Measures seed and merge: rows per CPU second and peak memory, on a hand-made load of narrow rows like order lines.
//!
//! `silver_bench [ROWS] [CHANGED]`: rows of the load (3 million), and of each change file (100 thousand).

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int32Array, RecordBatch, StringArray,
};
use arrow::datatypes::{Field, Schema};
use local::Local;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use pipeline::config::table::HudiConfig;
use pipeline::hudi_options;
use pipeline::path::{CAPTURE_FILE, MANIFEST_FILE, TableName, Zones};
use pipeline::plan::{Partitioning, Plan, TableType, TableWork, WriteOperation};
use pipeline::position::{CaptureState, Manifest, ManifestFile};
use pipeline::seq::ChangeSeq;
use pipeline::time::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use worker::context::{Guard, Silent};
use worker::failure::Failure;
use worker::job::Job;
use worker::secret::Secrets;
use worker::{hudi, merge, seed, silver, store};

type Anything<T> = Result<T, Box<dyn Error>>;

const FILE_ROWS: usize = 500_000;
const BATCH_ROWS: usize = 50_000;
const NOON: Timestamp = Timestamp(1_764_000_000_000);

struct Free;

impl Guard for Free {
    async fn may_commit(&self) -> Result<(), Failure> {
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Anything<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |or: usize| arguments.next().map_or(Ok(or), |text| text.parse());
    let (rows, changed) = (number(3_000_000)?, number(100_000)?);
    let folder = tempfile::tempdir()?;
    let local = Local::open(&folder.path().join("home"))?;
    let plan = plan(folder.path())?;
    let work = work(&plan);
    load(&plan, &work, rows)?;
    let job = |run_id| Job {
        run_id,
        plan: &plan,
        secrets: Secrets::Folder(Path::new("/")),
    };
    let bench = Bench::begin();
    seed::run(&local, &job("s1"), &work, &Free, &Silent).await?;
    bench.end("seed", rows);
    for (nth, name) in ["merge spread", "merge again"].into_iter().enumerate() {
        let step = (rows / changed).max(1);
        let ids = (0..changed).map(|n| ((n * step) + nth) as i32);
        change_file(&work, nth, &batch(ids, "U", ((nth + 1) * rows) as u64)?)?;
        let bench = Bench::begin();
        let report = merge::run(&local, &job("m1"), &work, &Free, &Silent).await?;
        bench.end(name, changed);
        println!(
            "  {} inserted, {} updated, {} rows",
            report.inserted,
            report.updated,
            report.rows_after.unwrap_or(0)
        );
    }
    let position = tasks::position::read(&local, &work.silver)
        .await?
        .ok_or("no position")?;
    let generation = silver::published(&work, &position.value)?.ok_or("not published")?;
    let size = hudi::open(&generation).await?.size().await?;
    println!(
        "table: {} rows, {} files, {} MB live, {} MB stored",
        size.rows,
        size.live_files,
        size.live_bytes >> 20,
        size.stored_bytes >> 20
    );
    Ok(())
}

/// Wall and CPU time since it began.
struct Bench {
    wall: Instant,
    cpu: f64,
}

impl Bench {
    fn begin() -> Self {
        Self {
            wall: Instant::now(),
            cpu: cpu_seconds(),
        }
    }

    fn end(self, name: &str, rows: usize) {
        let cpu = cpu_seconds() - self.cpu;
        println!(
            "{name}: {rows} rows, {:.1} s wall, {cpu:.1} CPU s, {:.0} rows per CPU s, peak {} MiB so far",
            self.wall.elapsed().as_secs_f64(),
            rows as f64 / cpu,
            peak_mib()
        );
    }
}

/// CPU time of this process: user and system, in ticks of a hundredth of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
        .unwrap_or_default()
        / 1024
}

fn batch(ids: impl Iterator<Item = i32>, op: &str, seq: u64) -> Anything<RecordBatch> {
    let ids: Vec<i32> = ids.collect();
    let rows = ids.len();
    let part = |divisor: i32| -> ArrayRef {
        Arc::new(
            ids.iter()
                .map(|id| Some(id / divisor))
                .collect::<Int32Array>(),
        )
    };
    let amounts =
        Decimal128Array::from_iter_values(ids.iter().map(|id| i128::from(*id % 9_999 + 1)));
    let seqs = (0..rows as u64)
        .map(|n| Some(ChangeSeq::new(NOON, if op == "I" { 0 } else { seq + n }).to_string()));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("Op", Arc::new(StringArray::from(vec![op; rows]))),
        ("ol_id", Arc::new(Int32Array::from(ids.clone()))),
        ("ol_w_id", part(300_000)),
        ("ol_d_id", part(30_000)),
        ("ol_number", part(10)),
        (
            "ol_delivery_d",
            Arc::new(Date32Array::from(vec![20_000; rows])),
        ),
        ("ol_quantity", Arc::new(Int32Array::from(vec![5; rows]))),
        (
            "ol_amount",
            Arc::new(amounts.with_precision_and_scale(6, 2)?),
        ),
        (
            "ol_dist_info",
            Arc::new(
                ids.iter()
                    .map(|id| {
                        Some(format!(
                            "dist-info-{:014}",
                            i64::from(*id) * 7919 % 1_000_003
                        ))
                    })
                    .collect::<StringArray>(),
            ),
        ),
        ("trx_seq", Arc::new(seqs.collect::<StringArray>())),
        (
            "_hoodie_is_deleted",
            Arc::new(BooleanArray::from(vec![false; rows])),
        ),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

fn write(path: &Path, batches: impl Iterator<Item = Anything<RecordBatch>>) -> Anything<u64> {
    std::fs::create_dir_all(path.parent().ok_or("a path without folder")?)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let file = std::fs::File::create(path)?;
    let mut writer: Option<ArrowWriter<std::fs::File>> = None;
    for batch in batches {
        let batch = batch?;
        if writer.is_none() {
            writer = Some(ArrowWriter::try_new(
                file.try_clone()?,
                batch.schema(),
                Some(properties.clone()),
            )?);
        }
        if let Some(writer) = &mut writer {
            writer.write(&batch)?;
        }
    }
    writer.ok_or("no rows")?.close()?;
    Ok(std::fs::metadata(path)?.len())
}

fn load(plan: &Plan, work: &TableWork, rows: usize) -> Anything<()> {
    let folder = store::disk::path(&work.loads)?.join("run=l1");
    let mut files = Vec::new();
    for (nth, first) in (0..rows).step_by(FILE_ROWS).enumerate() {
        let end = (first + FILE_ROWS).min(rows);
        let name = format!("part-{nth}.parquet");
        let batches = (first..end)
            .step_by(BATCH_ROWS)
            .map(|at| batch((at..(at + BATCH_ROWS).min(end)).map(|id| id as i32), "I", 0));
        let bytes = write(&folder.join(&name), batches)?;
        files.push(ManifestFile {
            name,
            rows: (end - first) as u64,
            bytes,
        });
    }
    let manifest = Manifest {
        schema_version: 1,
        run_id: "l1".to_owned(),
        table: work.source.to_string(),
        rows: rows as u64,
        bytes: files.iter().map(|file| file.bytes).sum(),
        files,
        t0: ChangeSeq::new(NOON, 0),
        snapshot: "1:1:".to_owned(),
        load_ended: NOON,
        wal_lsn: "0/1".to_owned(),
        slot_lsn: None,
        epoch: Some("e".to_owned()),
        primary_key: work.primary_key.clone(),
        columns: Vec::new(),
        nulled: BTreeMap::new(),
    };
    store::disk::put(&folder.join(MANIFEST_FILE), &serde_json::to_vec(&manifest)?)?;
    let capture: CaptureState = serde_json::from_value(json!({
        "schema_version": 1, "epoch": "e", "slot": "s", "heartbeat": NOON.0 + 3_600_000, "flushed_lsn": "0/1",
        "started": NOON.0, "last_seq": ChangeSeq::new(NOON, 0), "needs_reseed": {},
    }))?;
    let path = store::disk::path(&plan.zones.changes_root("bench"))?.join(CAPTURE_FILE);
    Ok(store::disk::put(&path, &serde_json::to_vec(&capture)?)?)
}

fn change_file(work: &TableWork, nth: usize, batch: &RecordBatch) -> Anything<()> {
    let path =
        store::disk::path(&work.changes)?.join(format!("20271124/20271124-{nth:09}.parquet"));
    write(&path, std::iter::once(Ok(batch.clone())))?;
    Ok(())
}

fn work(plan: &Plan) -> TableWork {
    let source = TableName {
        schema: "public".to_owned(),
        table: "order_line".to_owned(),
    };
    let hudi = HudiConfig {
        primary_key: vec!["ol_id".to_owned()],
        partitioning: Partitioning::None,
        partition_extractor_class: None,
        table_type: TableType::CopyOnWrite,
        operation: WriteOperation::Upsert,
        transformer: None,
    };
    let target_table = "bench_public_order_line".to_owned();
    TableWork {
        identifier: plan.identifier.clone(),
        loads: plan.zones.loads("bench", &source),
        changes: plan.zones.changes("bench", &source),
        silver: plan.zones.silver_table(&target_table),
        hudi_options: hudi_options::table(&target_table, &hudi),
        source,
        target_table,
        primary_key: hudi.primary_key,
        partitioning: Partitioning::None,
        operation: WriteOperation::Upsert,
        table_type: TableType::CopyOnWrite,
    }
}

fn plan(folder: &Path) -> Anything<Plan> {
    let zone = |name: &str| format!("file://{}/lake/{name}", folder.display());
    let zones = Zones {
        bronze: zone("bronze"),
        silver: zone("silver"),
        gold: zone("gold"),
        runtime: zone("runtime"),
    };
    Ok(serde_json::from_value(json!({
        "schema_version": 1, "identifier": "bench", "pipeline": "incremental_hudi", "kind": "incremental_hudi",
        "engine": "native", "target": "local", "zones": zones,
        "source": {
            "secret": "bench", "db": "bench", "capture": {"kind": "headwater", "slot": "s", "task": null},
            "changes_follow": true, "capture_silent_minutes": 30, "clock_skew_minutes": 0,
        },
        "policy": {
            "on_step_failure": "continue", "notify": "changes", "overlap": null, "allowed_concurrent": [],
            "timeout_minutes": 60, "queue_minutes": 60,
        },
        "cluster": {"step_concurrency": 1, "idle_timeout_seconds": 60, "run_job_flow": null},
        "steps": [], "faulty": [], "disabled": [], "not_applicable": [], "writes": [], "next": "stop",
        "generation": "", "code": {},
    }))?)
}
