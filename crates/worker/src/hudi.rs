//! Hudi tables, by the Apache Hudi Rust library: the only module that names `hudi_core`.
//!
//! One process writes a table at a time (the library rolls back whatever another writer has under way): callers hold the table's lock.

mod between;
mod columns;
mod create;
mod sizes;
mod written;

pub use columns::columns;
pub use create::create;
pub use sizes::{Layout, Size, memory};
pub use written::Written;

use crate::failure::Failure;
use crate::store::{self, Location};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::{FutureExt, Stream, StreamExt};
use hudi_core::error::CoreError;
use hudi_core::table::ReadOptions;
use std::sync::Arc;

/// Column that the library adds: the record's key as it compares them.
pub const RECORD_KEY: &str = "_hoodie_record_key";

/// Rows of a batch when a table is read.
const READ_BATCH_ROWS: usize = 8192;

/// File groups rewritten at once: each is in memory whole.
const WRITES_AT_ONCE: &str = "2";

/// A table as it was when it was opened, or after its last write.
pub struct HudiTable {
    table: hudi_core::table::Table,
    folder: Location,
}

/// Opens a table to read it.
pub async fn open(folder: &Location) -> Result<HudiTable, Failure> {
    open_with(folder, &[]).await
}

/// Opens a table to write files of this layout.
pub async fn open_to_write(folder: &Location, layout: Layout) -> Result<HudiTable, Failure> {
    open_with(folder, &layout.options()).await
}

async fn open_with(folder: &Location, options: &[(&str, String)]) -> Result<HudiTable, Failure> {
    let reached = reached(folder)
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let options = options.iter().map(|(name, value)| (*name, value.as_str()));
    let table =
        hudi_core::table::Table::new_with_options(&folder.base_uri(), options.chain(reached))
            .boxed()
            .await
            .map_err(|error| failed("be opened", folder, error))?;
    Ok(HudiTable {
        table,
        folder: folder.clone(),
    })
}

/// All rows of a table, or some of its columns, in batches: one file at a time is open. A table without commits has no batches.
pub async fn read(
    folder: &Location,
    columns: Option<&[&str]>,
) -> Result<impl Stream<Item = Result<RecordBatch, Failure>> + Send + Unpin + use<>, Failure> {
    open(folder).await?.read(columns).await
}

impl HudiTable {
    /// As `read`, of the state that this handle knows.
    pub async fn read(
        &self,
        columns: Option<&[&str]>,
    ) -> Result<impl Stream<Item = Result<RecordBatch, Failure>> + Send + Unpin + use<>, Failure>
    {
        let folder = self.folder.clone();
        let mut options = ReadOptions::new()
            .with_batch_size(READ_BATCH_ROWS)
            .map_err(|error| failed("be read", &folder, error))?;
        if let Some(columns) = columns {
            options = options.with_projection(columns.iter().copied());
        }
        let stream = self
            .table
            .read_stream(&options)
            .boxed()
            .await
            .map_err(|error| failed("be read", &folder, error))?;
        Ok(stream.map(move |batch| batch.map_err(|error| failed("be read", &folder, error))))
    }

    /// The table's own columns.
    pub async fn schema(&self) -> Result<SchemaRef, Failure> {
        self.table
            .get_schema()
            .boxed()
            .await
            .map(Arc::new)
            .map_err(|error| failed("say what columns it has", &self.folder, error))
    }

    /// The newest completed instant; `None` before the first commit.
    pub fn newest_instant(&self) -> Option<String> {
        self.instant_after(None)
    }

    /// The newest completed instant, if it is newer than `base`.
    pub fn instant_after(&self, base: Option<&str>) -> Option<String> {
        self.instants()
            .into_iter()
            .filter(|instant| base.is_none_or(|base| instant.as_str() > base))
            .max()
    }

    /// The completed instants that were not archived yet.
    pub fn instants(&self) -> Vec<String> {
        self.table
            .get_timeline()
            .completed_commits
            .iter()
            .map(|instant| instant.timestamp.clone())
            .collect()
    }

    /// Adds rows without looking whether their keys are there, as one commit; gives its instant.
    pub async fn append(&mut self, batches: Vec<RecordBatch>) -> Result<String, Failure> {
        self.clock_is_ahead()?;
        let base = self.base();
        let write = self.table.append(batches).boxed();
        let result = between::passing("seed.between.files", base, self.folder.path(), write).await;
        self.instant_of(result)
    }

    /// Inserts, replaces and (where `_hoodie_is_deleted`) removes rows by their keys, as one commit; gives its instant.
    /// A row whose partition changed leaves the old one. What a killed writer left is rolled back first.
    pub async fn upsert(&mut self, batches: Vec<RecordBatch>) -> Result<String, Failure> {
        self.clock_is_ahead()?;
        let base = self.base();
        let write = self.table.upsert(batches).boxed();
        let result = between::passing("merge.between.files", base, self.folder.path(), write).await;
        self.instant_of(result)
    }

    /// What a commit says that it wrote.
    pub async fn written(&self, instant: &str) -> Result<Written, Failure> {
        written::of(&self.table, &self.folder, instant).await
    }

    /// Sizes of the state that this handle knows.
    pub async fn size(&self) -> Result<Size, Failure> {
        sizes::size(&self.table, &self.folder).await
    }

    /// What the table was made with; empty when it has no such option.
    pub fn option(&self, name: &str) -> String {
        self.table.hudi_options().remove(name).unwrap_or_default()
    }

    /// The table's place as the library knows it.
    fn base(&self) -> String {
        self.option("hoodie.base.path")
    }

    fn instant_of(
        &self,
        result: hudi_core::error::Result<hudi_core::WriteResult>,
    ) -> Result<String, Failure> {
        let written = result.map_err(|error| failed("be written", &self.folder, error))?;
        written.requested_time.ok_or_else(|| {
            Failure::new(
                "HudiFailed",
                format!("a write to `{}` made no commit", self.folder),
            )
        })
    }

    /// Instants are moments of this machine's clock, and their order is the order of commits.
    fn clock_is_ahead(&self) -> Result<(), Failure> {
        let now = chrono::Utc::now().format("%Y%m%d%H%M%S%3f").to_string();
        match self.newest_instant() {
            Some(newest) if newest >= now => Err(Failure::new(
                "ClockBehind",
                format!(
                    "the newest commit of `{}` is later than this machine's clock: {newest}",
                    self.folder
                ),
            )
            .hint("set this machine's clock right, or wait until it has passed that moment")),
            _ => Ok(()),
        }
    }
}

/// How the library reaches a bucket: just as we do.
fn reached(folder: &Location) -> &'static [(String, String)] {
    match folder {
        Location::Disk(_) => &[],
        Location::Bucket(_) => store::settings(),
    }
}

fn failed(what: &str, folder: &Location, error: CoreError) -> Failure {
    let failure = Failure::new(
        "HudiFailed",
        format!("Hudi table `{}` cannot {what}: {error}", folder),
    )
    .caused_by(&error);
    if failure
        .causes
        .iter()
        .any(|cause| cause.contains("No space left"))
    {
        return Failure {
            error: "DiskFull",
            ..failure
        }
        .hint("free some space, then `headwater resume`");
    }
    failure
}
