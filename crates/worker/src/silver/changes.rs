//! Change files: which are next, and the newest change of each key in them.

use super::{Adapter, KeyColumns};
use crate::failure::Failure;
use crate::store::{Location, Measured};
use crate::types::{IS_DELETED, OP, TRX_SEQ};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::compute::{cast, interleave};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pipeline::position::Applied;
use pipeline::seq::ChangeSeq;
use std::collections::HashMap;
use std::sync::Arc;

/// All change files of a table.
pub fn listed(folder: &Location) -> Result<Vec<String>, Failure> {
    let mut files = folder
        .data_files()
        .map_err(|error| super::unusable(folder, &error))?;
    files.retain(|file| file.ends_with(".parquet"));
    Ok(files)
}

/// The first of these files that are merged together: one at least, and no more rows and bytes than this.
/// A file that cannot be read ends the batch before it, and is the next batch alone.
pub fn chosen(
    folder: &Location,
    files: &[String],
    rows_max: u64,
    bytes_max: u64,
) -> Result<Vec<String>, Failure> {
    let mut chosen = Vec::new();
    let (mut rows, mut bytes) = (0, 0);
    for file in files {
        let size = match footer(folder, file) {
            Ok(size) => size,
            Err(failure) if chosen.is_empty() => return Err(failure),
            Err(_) => break,
        };
        if !chosen.is_empty() && (rows + size.rows > rows_max || bytes + size.bytes > bytes_max) {
            break;
        }
        rows += size.rows;
        bytes += size.bytes;
        chosen.push(file.clone());
    }
    Ok(chosen)
}

fn footer(folder: &Location, file: &String) -> Result<Measured, Failure> {
    folder
        .measured(std::slice::from_ref(file))
        .map(|measured| measured[0])
        .map_err(|error| unreadable(folder, file, &error))
}

fn unreadable(folder: &Location, file: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    damaged(folder, file, error.to_string()).caused_by(error)
}

fn damaged(folder: &Location, file: &str, why: String) -> Failure {
    Failure::new(
        "ChangeFileUnreadable",
        format!("change file `{}` cannot be read: {why}", folder.join(file)),
    )
    .hint("put back a whole copy of the file and run the pipeline again, or reload the table")
}

/// Below which changes are in the table already.
#[derive(Debug, Clone)]
pub struct Floors {
    /// Changes below it are in the load.
    pub t0: ChangeSeq,
    /// Changes at or below it were applied.
    pub applied: Option<ChangeSeq>,
}

/// The floors for batches that come after this position; `listed` are all change files of the table. Where they are of several
/// partitions of the source, which are not written in one order of changes, the last change applied says nothing of the others:
/// then only the `trx_seq` of the stored rows tells what is old.
pub fn floors(t0: &ChangeSeq, applied: Option<&Applied>, listed: &[String]) -> Floors {
    let one_stream = |applied: &&Applied| {
        let of_applied = stream(&applied.file);
        listed.iter().all(|file| stream(file) == of_applied)
    };
    Floors {
        t0: t0.clone(),
        applied: applied
            .filter(one_stream)
            .map(|applied| applied.trx_seq.clone()),
    }
}

impl Floors {
    fn covers(&self, seq: &str) -> bool {
        let applied = self.applied.as_ref().map(ChangeSeq::as_str);
        seq < self.t0.as_str() || applied.is_some_and(|applied| seq <= applied)
    }
}

/// What a batch of files says of itself, without its rows.
pub struct Marked {
    pub rows: u64,
    pub bytes: u64,
    /// Rows that the load held or that were applied before.
    pub dropped: u64,
    /// The newest change of all, dropped ones too.
    pub newest: Option<ChangeSeq>,
    /// The columns of each file.
    pub columns: Vec<SchemaRef>,
}

impl Marked {
    /// Reads of all files what orders their changes: where one cannot be read there is nothing.
    pub fn read(folder: &Location, files: &[String], floors: &Floors) -> Result<Self, Failure> {
        let mut marked = Self {
            rows: 0,
            bytes: 0,
            dropped: 0,
            newest: None,
            columns: Vec::new(),
        };
        for file in files {
            marked
                .add(folder, file, floors)
                .map_err(|why| damaged(folder, file, why))?;
        }
        Ok(marked)
    }

    fn add(&mut self, folder: &Location, file: &str, floors: &Floors) -> Result<(), String> {
        fn text(error: impl std::fmt::Display) -> String {
            error.to_string()
        }
        let place = folder.join(file);
        self.bytes += place.bytes().map_err(text)?;
        let opened = place.open().map_err(text)?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(opened).map_err(text)?;
        let own = builder.schema().fields().clone();
        self.columns.push(Arc::new(Schema::new(own)));
        let marks = [OP, TRX_SEQ, IS_DELETED];
        let mask = ProjectionMask::columns(builder.parquet_schema(), marks);
        for batch in builder.with_projection(mask).build().map_err(text)? {
            let marks = Marks::of(&batch.map_err(text)?)?;
            for seq in marks.seqs.iter().flatten() {
                self.rows += 1;
                self.dropped += u64::from(floors.covers(seq));
                let newest = self.newest.as_ref().map(ChangeSeq::as_str);
                if newest.is_none_or(|newest| newest < seq) {
                    self.newest = Some(seq.parse().map_err(text)?);
                }
            }
        }
        Ok(())
    }
}

/// Folders of a change file without those of dates.
fn stream(file: &str) -> Vec<&str> {
    let folders = file.rsplit_once('/').map_or("", |(folders, _)| folders);
    let is_date = |name: &str| name.len() == 8 && name.bytes().all(|b| b.is_ascii_digit());
    folders
        .split('/')
        .filter(|name| !name.is_empty() && !is_date(name))
        .collect()
}

/// The changes of a batch of files, as columns of the table.
pub struct Changes {
    /// Rows of the files.
    pub rows: u64,
    pub bytes: u64,
    /// Rows that the load held or that were applied before.
    pub dropped: u64,
    /// The newest change of all, dropped ones too.
    pub newest: Option<ChangeSeq>,
    /// The newest change of each key.
    pub by_key: HashMap<String, Change>,
    batches: Vec<RecordBatch>,
}

/// The newest change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub seq: String,
    pub deleted: bool,
    batch: usize,
    row: usize,
}

impl Change {
    /// Where it stands in the files of its batch.
    pub fn place(&self) -> (usize, usize) {
        (self.batch, self.row)
    }
}

impl Changes {
    /// Reads files wholly: where one cannot be read there are no changes.
    pub fn read(
        folder: &Location,
        files: &[String],
        adapter: &Adapter,
        keys: &KeyColumns,
        floors: &Floors,
    ) -> Result<Self, Failure> {
        let mut changes = Self {
            rows: 0,
            bytes: 0,
            dropped: 0,
            newest: None,
            by_key: HashMap::new(),
            batches: Vec::new(),
        };
        for file in files {
            changes.bytes += footer(folder, file)?.bytes;
            for batch in batches(folder, file)? {
                let batch = batch.map_err(|error| unreadable(folder, file, &error))?;
                let marks = Marks::of(&batch).map_err(|why| damaged(folder, file, why))?;
                let adapted = adapter.adapt(&batch)?;
                changes
                    .add(adapted, &marks, keys, floors)
                    .map_err(|failure| at(failure, folder, file))?;
            }
        }
        Ok(changes)
    }

    fn add(
        &mut self,
        batch: RecordBatch,
        marks: &Marks,
        keys: &KeyColumns,
        floors: &Floors,
    ) -> Result<(), Failure> {
        let batch_keys = keys.keys(&batch)?;
        let mut key = String::new();
        let mut used = false;
        for row in 0..batch.num_rows() {
            let seq = marks.seq(row);
            self.rows += 1;
            if self
                .newest
                .as_ref()
                .is_none_or(|newest| newest.as_str() < seq)
            {
                self.newest = Some(seq.parse().map_err(|error: pipeline::seq::BadChangeSeq| {
                    Failure::new("ChangeFileUnreadable", error.to_string())
                })?);
            }
            if floors.covers(seq) {
                self.dropped += 1;
                continue;
            }
            batch_keys.write(row, &mut key)?;
            let newer = self
                .by_key
                .get(&key)
                .is_none_or(|known| known.seq.as_str() <= seq);
            if newer {
                used = true;
                let change = Change {
                    seq: seq.to_owned(),
                    deleted: marks.deleted(row),
                    batch: self.batches.len(),
                    row,
                };
                self.by_key.insert(key.clone(), change);
            }
        }
        if used {
            self.batches.push(batch);
        }
        Ok(())
    }

    /// The rows of these changes, with `_hoodie_is_deleted` as it is.
    pub fn rows_of(&self, changes: &[&Change]) -> Result<RecordBatch, Failure> {
        let failed = |error| {
            Failure::new(
                "ChangesTooLarge",
                format!("changes cannot be put together: {error}"),
            )
        };
        let places: Vec<(usize, usize)> = changes.iter().map(|change| change.place()).collect();
        let Some(first) = self.batches.first() else {
            return Err(Failure::new(
                "NoChanges",
                "there are no changes to put together",
            ));
        };
        let schema = first.schema();
        let columns = schema
            .fields()
            .iter()
            .enumerate()
            .map(|(at, field)| {
                if field.name() == IS_DELETED {
                    let deleted = changes.iter().map(|change| Some(change.deleted));
                    return Ok(Arc::new(deleted.collect::<BooleanArray>()) as ArrayRef);
                }
                let columns: Vec<&dyn Array> = self
                    .batches
                    .iter()
                    .map(|batch| batch.column(at).as_ref())
                    .collect();
                interleave(&columns, &places)
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        RecordBatch::try_new(schema, columns).map_err(failed)
    }
}

/// A failure that does not say where it was found says it now.
fn at(mut failure: Failure, folder: &Location, file: &str) -> Failure {
    failure.message = format!(
        "{} (in change file `{}`)",
        failure.message,
        folder.join(file)
    );
    failure
}

fn batches(
    folder: &Location,
    file: &str,
) -> Result<parquet::arrow::arrow_reader::ParquetRecordBatchReader, Failure> {
    let opened = folder
        .join(file)
        .open()
        .map_err(|error| unreadable(folder, file, &error))?;
    ParquetRecordBatchReaderBuilder::try_new(opened)
        .and_then(|builder| builder.with_batch_size(16_384).build())
        .map_err(|error| unreadable(folder, file, &error))
}

/// What a change file says of each change beside the row.
struct Marks {
    seqs: StringArray,
    operations: StringArray,
    deleted: Option<BooleanArray>,
}

impl Marks {
    fn of(batch: &RecordBatch) -> Result<Self, String> {
        let text = |name: &str| -> Result<StringArray, String> {
            let column = batch
                .column_by_name(name)
                .ok_or_else(|| format!("it has no column `{name}`"))?;
            let column = cast(column, &DataType::Utf8).map_err(|error| error.to_string())?;
            match column.null_count() {
                0 => Ok(column.as_string::<i32>().clone()),
                _ => Err(format!("`{name}` is NULL in a row")),
            }
        };
        let marks = Self {
            seqs: text(TRX_SEQ)?,
            operations: text(OP)?,
            deleted: batch
                .column_by_name(IS_DELETED)
                .and_then(|column| column.as_boolean_opt().cloned()),
        };
        for (seq, operation) in marks.seqs.iter().zip(&marks.operations) {
            let seq = seq.unwrap_or_default();
            seq.parse::<ChangeSeq>()
                .map_err(|error| error.to_string())?;
            if !matches!(operation, Some("I" | "U" | "D")) {
                return Err(format!(
                    "`{OP}` is none of I, U, D: {}",
                    operation.unwrap_or_default()
                ));
            }
        }
        Ok(marks)
    }

    fn seq(&self, row: usize) -> &str {
        self.seqs.value(row)
    }

    fn deleted(&self, row: usize) -> bool {
        let marked = self
            .deleted
            .as_ref()
            .is_some_and(|deleted| deleted.is_valid(row) && deleted.value(row));
        marked || self.operations.value(row) == "D"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_one_stream_of_changes_are_measured_by_the_last_change_applied() {
        let seq = |n| ChangeSeq::new(pipeline::time::Timestamp(0), n);
        let applied = Applied {
            file: "20261123/20261123-000000001.parquet".to_owned(),
            trx_seq: seq(7),
            instant: None,
            rows: 1,
        };
        let floor = |next: &str| {
            let files = [applied.file.clone(), next.to_owned()];
            floors(&seq(1), Some(&applied), &files).applied
        };
        assert_eq!(floor("20261124/20261124-000000001.parquet"), Some(seq(7)));
        assert_eq!(floor("part_b/20261124/20261124-000000001.parquet"), None);
        assert_eq!(floors(&seq(1), None, &[]).applied, None);
        let others = ["part_b/20261124/20261124-000000001.parquet".to_owned()];
        assert_eq!(
            floors(&seq(1), Some(&applied), &others).applied,
            None,
            "the applied file was removed"
        );
    }
}
