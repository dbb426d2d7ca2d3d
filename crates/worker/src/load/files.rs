//! Batches of one connection into Parquet files of a sensible size.

use super::constant::Constant;
use super::folder::write_failed;
use crate::failure::Failure;
use crate::store::{Location, NewFile};
use crate::types::{Carried, IS_DELETED, OP, TRX_SEQ};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves,
};
use parquet::basic::Compression;
use parquet::errors::Result as ParquetResult;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use pipeline::position::ManifestFile;
use pipeline::seq::ChangeSeq;
use std::collections::HashSet;
use std::sync::Arc;

/// `Op` of every loaded row.
const INSERTED: &str = "I";
/// Of a page before compression: what is compressed at once stays near the processor.
const PAGE_BYTES: usize = 128 * 1024;
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

/// The columns of a load: the table's own between ours.
pub struct Layout {
    schema: SchemaRef,
    op: Constant,
    trx_seq: Constant,
    is_deleted: Constant,
}

impl Layout {
    pub fn new(columns: &[(String, Carried)], t0: &ChangeSeq) -> Result<Self, Failure> {
        let built = || -> ParquetResult<Self> {
            let op = text(OP, INSERTED)?;
            let trx_seq = text(TRX_SEQ, t0.as_str())?;
            let is_deleted =
                Constant::new(Field::new(IS_DELETED, DataType::Boolean, true), |rows| {
                    Arc::new(BooleanArray::from(vec![false; rows]))
                })?;
            let mut fields = vec![op.field().clone()];
            fields.extend(
                columns
                    .iter()
                    .map(|(name, carried)| Field::new(name, carried.arrow_type(), true)),
            );
            fields.extend([trx_seq.field().clone(), is_deleted.field().clone()]);
            Ok(Self {
                schema: Arc::new(Schema::new(fields)),
                op,
                trx_seq,
                is_deleted,
            })
        };
        built().map_err(|error| {
            Failure::new(
                "LayoutMalformed",
                "the columns of the load cannot be laid out",
            )
            .caused_by(&error)
        })
    }
}

fn text(name: &str, value: &str) -> ParquetResult<Constant> {
    let value = value.to_owned();
    Constant::new(Field::new(name, DataType::Utf8, true), move |rows| {
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
            &value, rows,
        )))
    })
}

/// The files of one connection.
pub struct Files {
    folder: Location,
    /// Tells this connection's files from those of the others.
    connection: usize,
    layout: Arc<Layout>,
    limits: FileLimits,
    open: Option<Open>,
    done: Vec<ManifestFile>,
}

impl Files {
    pub fn new(
        folder: Location,
        connection: usize,
        layout: Arc<Layout>,
        limits: FileLimits,
    ) -> Self {
        Self {
            folder,
            connection,
            layout,
            limits,
            open: None,
            done: Vec::new(),
        }
    }

    /// Writes these rows of the table's own columns.
    pub fn write(&mut self, rows: usize, columns: &[ArrayRef]) -> Result<(), Failure> {
        let place = self.folder.join(&self.name());
        let failed = |error: &(dyn std::error::Error + 'static)| write_failed(&place, error);
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(Open::begin(&place, &self.layout, columns)?),
        };
        open.write(&self.layout, rows, columns)
            .map_err(|error| failed(&error))?;
        if open.memory() >= self.limits.row_group_bytes {
            open.end_group(&self.layout)
                .map_err(|error| failed(&error))?;
        }
        if open.bytes() >= self.limits.file_bytes {
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
        self.open = Some(Open::begin(
            &self.folder.join(&self.name()),
            &self.layout,
            &[],
        )?);
        self.finish()
    }

    fn name(&self) -> String {
        format!("part-{:02}-{:05}.parquet", self.connection, self.done.len())
    }

    fn end(&mut self) -> Result<(), Failure> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        let place = self.folder.join(&self.name());
        let failed = |error: &(dyn std::error::Error + 'static)| write_failed(&place, error);
        open.end_group(&self.layout)
            .map_err(|error| failed(&error))?;
        let file = open.file.into_inner().map_err(|error| failed(&error))?;
        let bytes = file.commit().map_err(|error| failed(&error))?;
        self.done.push(ManifestFile {
            name: self.name(),
            rows: open.rows,
            bytes,
        });
        Ok(())
    }
}

/// A file under way.
struct Open {
    file: SerializedFileWriter<NewFile>,
    factory: ArrowRowGroupWriterFactory,
    /// The row group under way: a writer for each column, ours too; empty between groups.
    columns: Vec<ArrowColumnWriter>,
    rows_in_group: usize,
    rows: u64,
}

impl Open {
    /// Begins a file whose first rows these are.
    fn begin(place: &Location, layout: &Layout, first: &[ArrayRef]) -> Result<Self, Failure> {
        let file = NewFile::create(place).map_err(|error| write_failed(place, &error))?;
        let options = ArrowWriterOptions::new()
            .with_properties(properties(layout, first))
            .with_skip_arrow_metadata(true);
        let (file, factory) =
            ArrowWriter::try_new_with_options(file, layout.schema.clone(), options)
                .and_then(ArrowWriter::into_serialized_writer)
                .map_err(|error| write_failed(place, &error))?;
        Ok(Self {
            file,
            factory,
            columns: Vec::new(),
            rows_in_group: 0,
            rows: 0,
        })
    }

    fn write(&mut self, layout: &Layout, rows: usize, columns: &[ArrayRef]) -> ParquetResult<()> {
        if self.columns.is_empty() {
            let group = self.file.flushed_row_groups().len();
            self.columns = self.factory.create_column_writers(group)?;
        }
        let fields = layout.schema.fields()[1..].iter();
        for ((writer, field), array) in self.columns[1..].iter_mut().zip(fields).zip(columns) {
            for leaf in compute_leaves(field, array)? {
                writer.write(&leaf)?;
            }
        }
        self.rows_in_group += rows;
        Ok(())
    }

    fn end_group(&mut self, layout: &Layout) -> ParquetResult<()> {
        let rows = self.rows_in_group;
        if rows == 0 {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        layout.op.append_to(&mut group, rows)?;
        let own = self.columns.len() - 2;
        for writer in self.columns.drain(..).take(own).skip(1) {
            writer.close()?.append_to_row_group(&mut group)?;
        }
        layout.trx_seq.append_to(&mut group, rows)?;
        layout.is_deleted.append_to(&mut group, rows)?;
        group.close()?;
        self.rows += rows as u64;
        self.rows_in_group = 0;
        Ok(())
    }

    /// Bytes in memory.
    fn memory(&self) -> usize {
        self.columns
            .iter()
            .map(ArrowColumnWriter::memory_size)
            .sum()
    }

    /// Bytes of the file, as far as that is known.
    fn bytes(&self) -> usize {
        let columns = self.columns.iter();
        self.file.bytes_written()
            + columns
                .map(ArrowColumnWriter::get_estimated_total_bytes)
                .sum::<usize>()
    }
}

fn properties(layout: &Layout, first: &[ArrayRef]) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by("headwater".to_owned())
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_offset_index_disabled(true);
    for ours in [&layout.op, &layout.trx_seq, &layout.is_deleted] {
        let path = ColumnPath::new(vec![ours.field().name().clone()]);
        properties = properties.set_column_compression(path, Compression::UNCOMPRESSED);
    }
    for (field, column) in layout.schema.fields()[1..].iter().zip(first) {
        let path = ColumnPath::new(vec![field.name().clone()]);
        properties = properties.set_column_dictionary_enabled(path, dictionary_pays(column));
    }
    properties.build()
}

/// Whether values come often enough that naming each once is less work and space than repeating it.
fn dictionary_pays(column: &ArrayRef) -> bool {
    let sample = column.slice(0, column.len().min(SAMPLE_VALUES));
    let distinct = match sample.data_type() {
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
