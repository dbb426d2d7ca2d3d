//! The load that a seed builds on: the newest complete one, and its files.

use crate::failure::Failure;
use crate::silver::unusable;
use crate::store;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use pipeline::path::{MANIFEST_FILE, segment};
use pipeline::plan::TableWork;
use pipeline::position::Manifest;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

const READ_BATCH_ROWS: usize = 16_384;

/// A complete load.
pub struct CompleteLoad {
    pub manifest: Manifest,
    pub schema: SchemaRef,
    folder: PathBuf,
}

/// The newest complete load of a table.
pub fn newest(work: &TableWork) -> Result<CompleteLoad, Failure> {
    let loads = store::path(&work.loads)?;
    let mut newest: Option<(Manifest, PathBuf)> = None;
    for folder in folders(&loads)? {
        if let Some(manifest) = manifest(work, &folder)? {
            let order = |manifest: &Manifest| (manifest.t0.clone(), manifest.load_ended);
            if newest
                .as_ref()
                .is_none_or(|(known, _)| order(known) < order(&manifest))
            {
                newest = Some((manifest, folder));
            }
        }
    }
    let (manifest, folder) = newest.ok_or_else(|| none(work))?;
    whole(work, manifest, folder)
}

/// The manifest of one load.
pub fn manifest_of(work: &TableWork, run_id: &str) -> Result<Manifest, Failure> {
    let folder = store::path(&work.loads)?.join(format!("run={}", segment(run_id)));
    manifest(work, &folder)?.ok_or_else(|| none(work))
}

fn none(work: &TableWork) -> Failure {
    Failure::new(
        "NoLoad",
        format!("`{}` has no complete load to seed from", work.source),
    )
    .hint(format!("run jdbc_load first, or {}", work.reload()))
}

fn folders(loads: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = match std::fs::read_dir(loads) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unusable(loads, &error)),
    };
    entries
        .map(|entry| entry.map(|entry| entry.path()))
        .filter(|path| {
            path.as_ref().is_ok_and(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("run="))
            })
        })
        .collect::<io::Result<Vec<_>>>()
        .map_err(|error| unusable(loads, &error))
}

fn manifest(work: &TableWork, folder: &Path) -> Result<Option<Manifest>, Failure> {
    let path = folder.join(MANIFEST_FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(&path, &error)),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Failure::new(
            "LoadDamaged",
            format!("`{}` is not of its form: {error}", path.display()),
        )
        .hint(work.reload())
    })
}

/// Looks whether the files are there as the manifest has them.
fn whole(work: &TableWork, manifest: Manifest, folder: PathBuf) -> Result<CompleteLoad, Failure> {
    for file in &manifest.files {
        let found = std::fs::metadata(folder.join(&file.name)).map(|data| data.len());
        if !found.as_ref().is_ok_and(|bytes| *bytes == file.bytes) {
            let found =
                found.map_or_else(|error| error.to_string(), |bytes| format!("{bytes} bytes"));
            return Err(damaged(work, &folder, &file.name, &found));
        }
    }
    let Some(first) = manifest.files.first() else {
        return Err(damaged(work, &folder, MANIFEST_FILE, "it names no file"));
    };
    let schema = builder(work, &folder, &first.name)?.schema().clone();
    Ok(CompleteLoad {
        schema: std::sync::Arc::new(arrow::datatypes::Schema::new(schema.fields().clone())),
        manifest,
        folder,
    })
}

fn damaged(work: &TableWork, folder: &Path, file: &str, why: &str) -> Failure {
    Failure::new(
        "LoadDamaged",
        format!(
            "the load of `{}` is not as it was written: `{}`: {why}",
            work.source,
            folder.join(file).display()
        ),
    )
    .hint(work.reload())
}

fn builder(
    work: &TableWork,
    folder: &Path,
    file: &str,
) -> Result<ParquetRecordBatchReaderBuilder<File>, Failure> {
    let opened =
        File::open(folder.join(file)).map_err(|error| unusable(&folder.join(file), &error))?;
    ParquetRecordBatchReaderBuilder::try_new(opened)
        .map_err(|error| damaged(work, folder, file, &error.to_string()).caused_by(&error))
}

impl CompleteLoad {
    /// Calls `each` with every batch, or with some of its columns.
    pub fn for_each(
        &self,
        work: &TableWork,
        columns: Option<&[String]>,
        mut each: impl FnMut(arrow::record_batch::RecordBatch) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for file in &self.manifest.files {
            for batch in self.reader(work, &file.name, columns)? {
                let batch = batch.map_err(|error| {
                    damaged(work, &self.folder, &file.name, &error.to_string()).caused_by(&error)
                })?;
                each(batch)?;
            }
        }
        Ok(())
    }

    /// The batches of one file.
    pub fn reader(
        &self,
        work: &TableWork,
        file: &str,
        columns: Option<&[String]>,
    ) -> Result<ParquetRecordBatchReader, Failure> {
        let builder = builder(work, &self.folder, file)?.with_batch_size(READ_BATCH_ROWS);
        let mask = match columns {
            Some(columns) => ProjectionMask::columns(
                builder.parquet_schema(),
                columns.iter().map(String::as_str),
            ),
            None => ProjectionMask::all(),
        };
        builder.with_projection(mask).build().map_err(|error| {
            damaged(work, &self.folder, file, &error.to_string()).caused_by(&error)
        })
    }

    /// A batch that cannot be read.
    pub fn unreadable(
        &self,
        work: &TableWork,
        file: &str,
        error: &arrow::error::ArrowError,
    ) -> Failure {
        damaged(work, &self.folder, file, &error.to_string()).caused_by(error)
    }
}
