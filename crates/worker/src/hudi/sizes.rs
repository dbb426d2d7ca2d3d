//! How large a table is, and how large its files are to be.

use super::failed;
use crate::failure::Failure;
use crate::store::Location;
use arrow::record_batch::RecordBatch;
use futures::FutureExt;
use hudi_core::table::ReadOptions;

/// What a table holds and what it takes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    pub rows: u64,
    /// Files that a reader of the newest state reads.
    pub live_files: u64,
    pub live_bytes: u64,
    /// All data files, older versions too.
    pub stored_bytes: u64,
}

/// Rows are counted in the footers of the files.
pub(super) async fn size(
    table: &hudi_core::table::Table,
    folder: &Location,
) -> Result<Size, Failure> {
    let slices = table
        .get_file_slices(&ReadOptions::new())
        .boxed()
        .await
        .map_err(|error| failed("list its files", folder, error))?;
    let mut live = Vec::new();
    for slice in slices {
        let path = slice
            .base_file_relative_path()
            .map_err(|error| failed("list its files", folder, error))?;
        live.extend(path);
    }
    let measured = folder
        .measured(&live)
        .map_err(|error| unreadable(&folder.join(&error.name), &error))?;
    Ok(Size {
        rows: measured.iter().map(|file| file.rows).sum(),
        live_files: measured.len() as u64,
        live_bytes: measured.iter().map(|file| file.bytes).sum(),
        stored_bytes: folder
            .stored_bytes()
            .map_err(|error| unreadable(folder, &error))?,
    })
}

fn unreadable(place: &Location, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new("HudiFailed", format!("`{place}` cannot be read: {error}")).caused_by(error)
}

/// A file is rewritten in memory whole: at most so many rows in one …
const FILE_ROWS_MAX: u64 = 200_000;
/// … and at most so many bytes of them in memory.
const FILE_MEMORY_MAX: u64 = 48 << 20;
/// What the library adds to a row in memory: five texts.
const ADDED_BYTES_PER_ROW: u64 = 160;
/// Assumed on disk as long as a table has no rows to measure.
const ROW_BYTES_UNKNOWN: u64 = 64;

/// How large the files of a table may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of a row on disk, as measured.
    row_bytes: u64,
    file_rows: u64,
}

impl Layout {
    /// For rows like these, in a table of this size.
    pub fn for_rows(batches: &[RecordBatch], size: &Size) -> Self {
        let rows: u64 = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let memory: u64 = batches.iter().map(memory).sum();
        let per_row = memory.div_ceil(rows.max(1)) + ADDED_BYTES_PER_ROW;
        Self {
            row_bytes: match size.rows {
                0 => ROW_BYTES_UNKNOWN,
                rows => size.live_bytes.div_ceil(rows).max(1),
            },
            file_rows: (FILE_MEMORY_MAX / per_row).clamp(1, FILE_ROWS_MAX),
        }
    }

    /// The library thinks in bytes of a file and of a row.
    pub(super) fn options(self) -> [(&'static str, String); 5] {
        let file_bytes = self.row_bytes * self.file_rows;
        [
            (
                "hoodie.write.task.parallelism",
                super::WRITES_AT_ONCE.to_owned(),
            ),
            (
                "hoodie.copyonwrite.record.size.estimate",
                self.row_bytes.to_string(),
            ),
            ("hoodie.parquet.max.file.size", file_bytes.to_string()),
            ("hoodie.parquet.block.size", file_bytes.to_string()),
            (
                "hoodie.parquet.small.file.limit",
                (file_bytes / 5 * 4).to_string(),
            ),
        ]
    }
}

/// Bytes of a batch's own rows; a slice of a larger one counts for its part.
pub fn memory(batch: &RecordBatch) -> u64 {
    batch
        .columns()
        .iter()
        .map(|column| {
            column
                .to_data()
                .get_slice_memory_size()
                .unwrap_or_else(|_| column.get_array_memory_size()) as u64
        })
        .sum()
}
