//! The load that a seed builds on: the newest complete one, and its files.

use crate::failure::Failure;
use crate::silver::unusable;
use crate::store::{self, Location};
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use pipeline::path::{MANIFEST_FILE, segment};
use pipeline::plan::TableWork;
use pipeline::position::Manifest;
use std::fs::File;
use std::io;

const READ_BATCH_ROWS: usize = 16_384;

/// A complete load.
pub struct CompleteLoad {
    pub manifest: Manifest,
    pub schema: SchemaRef,
    folder: Location,
}

/// The newest complete load of a table.
pub fn newest(work: &TableWork) -> Result<CompleteLoad, Failure> {
    let loads = store::location(&work.loads)?;
    let mut newest: Option<(Manifest, Location)> = None;
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
    let folder = store::location(&work.loads)?.join(&format!("run={}", segment(run_id)));
    manifest(work, &folder)?.ok_or_else(|| none(work))
}

fn none(work: &TableWork) -> Failure {
    Failure::new(
        "NoLoad",
        format!("`{}` has no complete load to seed from", work.source),
    )
    .hint(format!("run jdbc_load first, or {}", work.reload()))
}

fn folders(loads: &Location) -> Result<Vec<Location>, Failure> {
    let mut found = loads.folders().map_err(|error| unusable(loads, &error))?;
    found.retain(|folder| folder.name().starts_with("run="));
    Ok(found)
}

fn manifest(work: &TableWork, folder: &Location) -> Result<Option<Manifest>, Failure> {
    let place = folder.join(MANIFEST_FILE);
    let bytes = match place.read() {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(&place, &error)),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Failure::new(
            "LoadDamaged",
            format!("`{place}` is not of its form: {error}"),
        )
        .hint(work.reload())
    })
}

/// Looks whether the files are there as the manifest has them.
fn whole(work: &TableWork, manifest: Manifest, folder: Location) -> Result<CompleteLoad, Failure> {
    for file in &manifest.files {
        let found = folder.join(&file.name).bytes();
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

fn damaged(work: &TableWork, folder: &Location, file: &str, why: &str) -> Failure {
    Failure::new(
        "LoadDamaged",
        format!(
            "the load of `{}` is not as it was written: `{}`: {why}",
            work.source,
            folder.join(file)
        ),
    )
    .hint(work.reload())
}

fn builder(
    work: &TableWork,
    folder: &Location,
    file: &str,
) -> Result<ParquetRecordBatchReaderBuilder<File>, Failure> {
    let place = folder.join(file);
    let opened = place.open().map_err(|error| unusable(&place, &error))?;
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
