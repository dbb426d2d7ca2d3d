//! The load against a real server.

mod cover;
mod kinds;
mod limits;
mod moment;
mod runs;
mod spark;
mod types;

use super::{LIMITS, Limits, run_within};
use crate::context::{Guard, Progress, Silent};
use crate::failure::Failure;
use crate::job::Job;
use crate::secret::Secrets;
use crate::store;
use crate::test_postgres::{Database, postgres};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pipeline::path::{TableName, Zones};
use pipeline::plan::{Load, Plan};
use pipeline::position::Manifest;
use pipeline::report::StepReport;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// A database, a lake, and a plan that leads from one to the other.
struct Scene {
    database: Database,
    home: TempDir,
    plan: Plan,
    limits: Limits,
}

impl Scene {
    async fn new(sql: &str) -> Self {
        let database = postgres().database().await;
        database.client.batch_execute(sql).await.expect("tables");
        let home = TempDir::new().expect("a folder");
        let mut plan: Plan =
            serde_json::from_str(include_str!("../../../examples/plan.json")).expect("a plan");
        let zone = |name: &str| format!("file://{}/{name}/shop", home.path().display());
        plan.zones = Zones {
            bronze: zone("bronze"),
            silver: zone("silver"),
            gold: zone("gold"),
            runtime: zone("runtime"),
        };
        let scene = Self {
            database,
            home,
            plan,
            limits: Limits {
                open_transactions: Duration::ZERO,
                slice_pages_min: 1,
                ..LIMITS
            },
        };
        scene.write_secret();
        scene
    }

    fn secrets(&self) -> PathBuf {
        self.home.path().join("secrets")
    }

    fn write_secret(&self) {
        use std::io::Write;
        fs::DirBuilder::new()
            .mode(0o700)
            .create(self.secrets())
            .expect("a folder");
        let secret = &self.database.secret;
        let json = serde_json::json!({"username": secret.username, "password": secret.password, "engine": "postgres",
            "host": secret.host, "port": secret.port, "dbname": secret.dbname});
        let mut options = fs::OpenOptions::new();
        options.create(true).write(true).mode(0o600);
        let mut file = options
            .open(self.secrets().join("shop.json"))
            .expect("a file");
        write!(file, "{json}").expect("a secret");
    }

    fn table(name: &str) -> TableName {
        TableName {
            schema: "public".to_owned(),
            table: name.to_owned(),
        }
    }

    fn loads(&self, table: &TableName) -> PathBuf {
        store::disk::path(&self.plan.zones.loads(&self.plan.source.db, table)).expect("a folder")
    }

    async fn sql(&self, sql: &str) {
        self.database.client.batch_execute(sql).await.expect("sql");
    }

    async fn load(&self, run_id: &str, table: &str) -> Result<StepReport, Failure> {
        self.load_watched(run_id, &Self::table(table), &Free, &Silent)
            .await
    }

    async fn load_watched(
        &self,
        run_id: &str,
        table: &TableName,
        guard: &impl Guard,
        progress: &impl Progress,
    ) -> Result<StepReport, Failure> {
        let load = Load {
            source: table.clone(),
            loads: self.plan.zones.loads(&self.plan.source.db, table),
            parallelism: 3,
            changes_follow: self.plan.source.changes_follow,
        };
        let secrets = self.secrets();
        let job = Job {
            run_id,
            plan: &self.plan,
            secrets: Secrets::Folder(&secrets),
        };
        run_within(self.limits, &job, &load, guard, progress).await
    }

    fn manifest(&self, run_id: &str, table: &TableName) -> Manifest {
        let path = self
            .loads(table)
            .join(format!("run={run_id}/_manifest.json"));
        serde_json::from_slice(&fs::read(path).expect("a manifest")).expect("a manifest")
    }

    /// All rows of a load.
    fn rows(&self, run_id: &str, table: &TableName) -> RecordBatch {
        let folder = self.loads(table).join(format!("run={run_id}"));
        let mut batches = Vec::new();
        let mut schema = None;
        for file in self.manifest(run_id, table).files {
            let file = fs::File::open(folder.join(file.name)).expect("a file");
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
            schema = Some(reader.schema().clone());
            batches.extend(
                reader
                    .build()
                    .expect("a reader")
                    .map(|batch| batch.expect("rows")),
            );
        }
        concat_batches(&schema.expect("at least one file"), &batches).expect("rows of one schema")
    }

    /// Names in the folder of a run, sorted; none without a folder.
    fn files(&self, run_id: &str, table: &TableName) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.loads(table).join(format!("run={run_id}"))) else {
            return Vec::new();
        };
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }
}

/// Lets every commit pass.
struct Free;

impl Guard for Free {
    async fn may_commit(&self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Runs SQL when the snapshot is taken and nothing is copied yet.
struct AfterSnapshot<'a> {
    database: &'a Database,
    sql: &'a str,
}

impl Progress for AfterSnapshot<'_> {
    fn expect(&self, _rows: u64) {
        let (secret, sql) = (self.database.secret.clone(), self.sql.to_owned());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("threads");
            runtime.block_on(async {
                let client = crate::source::connect(&secret).await.expect("a connection");
                client.batch_execute(&sql).await.expect("sql");
            });
        });
        thread.join().expect("the thread's end");
    }

    fn add(&self, _rows: u64, _bytes: u64) {}
}
