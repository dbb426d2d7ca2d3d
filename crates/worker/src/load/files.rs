//! Batches of one connection into Parquet files of a sensible size.

use super::folder::write_failed;
use super::preflight::{IS_DELETED, OP, TRX_SEQ};
use crate::failure::Failure;
use crate::store::NewFile;
use crate::types::Carried;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, Int8Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Int8Type, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use pipeline::position::ManifestFile;
use pipeline::seq::ChangeSeq;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

/// `Op` of every loaded row.
const INSERTED: &str = "I";
/// Values that are looked at to see whether a dictionary pays.
const SAMPLE_VALUES: usize = 2048;
/// A dictionary pays when each value comes this often.
const REPEATS_MIN: usize = 4;

/// How large files and their parts become.
#[derive(Debug, Clone, Copy)]
pub struct FileLimits {
    /// A file ends when it has this many bytes.
    pub file_bytes: usize,
    /// A row group ends when it has this many bytes, which are in memory until then.
    pub row_group_bytes: usize,
}

/// The columns of a load.
#[derive(Debug, Clone)]
pub struct Layout {
    schema: SchemaRef,
    t0: String,
}

impl Layout {
    pub fn new(columns: &[(String, Carried)], t0: &ChangeSeq) -> Self {
        let constant = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        let mut fields = vec![Field::new(OP, constant.clone(), true)];
        fields.extend(
            columns
                .iter()
                .map(|(name, carried)| Field::new(name, carried.arrow_type(), true)),
        );
        fields.push(Field::new(TRX_SEQ, constant, true));
        fields.push(Field::new(IS_DELETED, DataType::Boolean, true));
        Self {
            schema: Arc::new(Schema::new(fields)),
            t0: t0.to_string(),
        }
    }

    /// A batch of a table's columns with ours around them.
    fn batch(&self, rows: usize, columns: Vec<ArrayRef>) -> Result<RecordBatch, Failure> {
        let mut arrays: Vec<ArrayRef> = vec![repeated(INSERTED, rows)];
        arrays.extend(columns);
        arrays.push(repeated(&self.t0, rows));
        arrays.push(Arc::new(BooleanArray::from(vec![false; rows])));
        RecordBatch::try_new(self.schema.clone(), arrays).map_err(|error| {
            Failure::new("BatchMalformed", "rows do not fit their columns").caused_by(&error)
        })
    }
}

/// One text for all rows, kept once.
fn repeated(text: &str, rows: usize) -> ArrayRef {
    let keys = Int8Array::from(vec![0; rows]);
    Arc::new(DictionaryArray::<Int8Type>::new(
        keys,
        Arc::new(StringArray::from(vec![text])),
    ))
}

/// The files of one connection.
pub struct Files {
    folder: PathBuf,
    /// Tells this connection's files from those of the others.
    connection: usize,
    layout: Layout,
    limits: FileLimits,
    open: Option<ArrowWriter<NewFile>>,
    done: Vec<ManifestFile>,
}

impl Files {
    pub fn new(folder: PathBuf, connection: usize, layout: Layout, limits: FileLimits) -> Self {
        Self {
            folder,
            connection,
            layout,
            limits,
            open: None,
            done: Vec::new(),
        }
    }

    pub fn write(&mut self, rows: usize, columns: Vec<ArrayRef>) -> Result<(), Failure> {
        let batch = self.layout.batch(rows, columns)?;
        let path = self.folder.join(self.name());
        let writer = match &mut self.open {
            Some(writer) => writer,
            none => none.insert(begin(&path, &batch, self.limits)?),
        };
        writer
            .write(&batch)
            .map_err(|error| write_failed(&self.folder, &error))?;
        let written = writer.bytes_written();
        if written + writer.in_progress_size() >= self.limits.file_bytes {
            self.end()?;
        }
        Ok(())
    }

    /// Ends the last file; all of them.
    pub fn finish(&mut self) -> Result<Vec<ManifestFile>, Failure> {
        self.end()?;
        Ok(std::mem::take(&mut self.done))
    }

    /// A file without rows: readers find the columns of an empty table.
    pub fn empty(mut self) -> Result<Vec<ManifestFile>, Failure> {
        let columns = self.layout.schema.fields();
        let arrays = columns[1..columns.len() - 2]
            .iter()
            .map(|field| arrow::array::new_empty_array(field.data_type()))
            .collect();
        let batch = self.layout.batch(0, arrays)?;
        self.open = Some(begin(&self.folder.join(self.name()), &batch, self.limits)?);
        self.finish()
    }

    fn name(&self) -> String {
        format!("part-{:02}-{:05}.parquet", self.connection, self.done.len())
    }

    fn end(&mut self) -> Result<(), Failure> {
        let Some(mut writer) = self.open.take() else {
            return Ok(());
        };
        let failed = |error: &(dyn std::error::Error + 'static)| write_failed(&self.folder, error);
        writer.flush().map_err(|error| failed(&error))?;
        let groups = writer.flushed_row_groups().iter();
        let rows = groups.map(|group| group.num_rows().unsigned_abs()).sum();
        let file = writer.into_inner().map_err(|error| failed(&error))?;
        file.commit().map_err(|error| failed(&error))?;
        let path = self.folder.join(self.name());
        let bytes = std::fs::metadata(&path)
            .map_err(|error| failed(&error))?
            .len();
        self.done.push(ManifestFile {
            name: self.name(),
            rows,
            bytes,
        });
        Ok(())
    }
}

/// Begins a file whose first rows these are.
fn begin(
    path: &std::path::Path,
    first: &RecordBatch,
    limits: FileLimits,
) -> Result<ArrowWriter<NewFile>, Failure> {
    let file = NewFile::create(path).map_err(|error| write_failed(path, &error))?;
    // Without Arrow's own schema, dictionaries are read back as what they hold.
    let options = ArrowWriterOptions::new()
        .with_properties(properties(first, limits))
        .with_skip_arrow_metadata(true);
    ArrowWriter::try_new_with_options(file, first.schema(), options)
        .map_err(|error| write_failed(path, &error))
}

fn properties(first: &RecordBatch, limits: FileLimits) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by("headwater".to_owned())
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(None)
        .set_max_row_group_bytes(Some(limits.row_group_bytes));
    for (field, column) in first.schema().fields().iter().zip(first.columns()) {
        let path = ColumnPath::new(vec![field.name().clone()]);
        properties = properties.set_column_dictionary_enabled(path, dictionary_pays(column));
    }
    properties.build()
}

/// Whether values come often enough that naming each once is less work and space than repeating it.
fn dictionary_pays(column: &ArrayRef) -> bool {
    let sample = column.slice(0, column.len().min(SAMPLE_VALUES));
    let distinct = match sample.data_type() {
        DataType::Dictionary(..) => return true,
        DataType::Utf8 => distinct(sample.as_string::<i32>().iter()),
        DataType::Binary => distinct(sample.as_binary::<i32>().iter()),
        // Numbers are quickly written as they are, and compress well.
        _ => return false,
    };
    distinct * REPEATS_MIN <= sample.len()
}

fn distinct<T: std::hash::Hash + Eq>(values: impl Iterator<Item = Option<T>>) -> usize {
    values.flatten().collect::<HashSet<T>>().len()
}
