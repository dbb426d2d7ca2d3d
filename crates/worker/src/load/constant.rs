//! A column with one value in all rows. Its pages are made once and repeated: rows cost nothing here.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, PageType};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedRowGroupWriter;
use std::io::Write;
use std::sync::Arc;

/// Rows of a repeated page.
const PAGE_ROWS: usize = 16 * 1024;

/// Makes an array of so many rows.
type Rows = dyn Fn(usize) -> ArrayRef + Send + Sync;

/// One column.
pub struct Constant {
    field: Field,
    rows: Box<Rows>,
    full: Encoded,
}

/// A chunk with one data page, in its parts. Nothing of it is compressed: there is little to gain.
struct Encoded {
    dictionary: Bytes,
    page: Bytes,
    metadata: ColumnChunkMetaData,
}

impl Constant {
    pub fn new(
        field: Field,
        rows: impl Fn(usize) -> ArrayRef + Send + Sync + 'static,
    ) -> Result<Self> {
        let full = encode(&field, rows(PAGE_ROWS))?;
        Ok(Self {
            field,
            rows: Box::new(rows),
            full,
        })
    }

    pub fn field(&self) -> &Field {
        &self.field
    }

    /// Writes this column of a row group.
    pub fn append_to<W: Write + Send>(
        &self,
        group: &mut SerializedRowGroupWriter<'_, W>,
        rows: usize,
    ) -> Result<()> {
        let Encoded {
            dictionary,
            page,
            metadata,
        } = &self.full;
        let mut chunk = dictionary.to_vec();
        let mut pages = rows / PAGE_ROWS;
        chunk.extend(page.repeat(pages));
        if !rows.is_multiple_of(PAGE_ROWS) {
            chunk.extend_from_slice(&encode(&self.field, (self.rows)(rows % PAGE_ROWS))?.page);
            pages += 1;
        }
        let bytes = chunk.len() as i64;
        let mut metadata = ColumnChunkMetaData::builder(metadata.column_descr_ptr())
            .set_encodings_mask(*metadata.encodings_mask())
            .set_num_values(rows as i64)
            .set_total_compressed_size(bytes)
            .set_total_uncompressed_size(bytes)
            .set_dictionary_page_offset((!dictionary.is_empty()).then_some(0))
            .set_data_page_offset(dictionary.len() as i64)
            .set_page_encoding_stats(encoding_stats(metadata, pages));
        if let Some(statistics) = self.full.metadata.statistics() {
            metadata = metadata.set_statistics(statistics.clone());
        }
        let close = ColumnCloseResult {
            bytes_written: bytes as u64,
            rows_written: rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        group.append_column(&Bytes::from(chunk), close)
    }
}

fn encoding_stats(metadata: &ColumnChunkMetaData, pages: usize) -> Vec<PageEncodingStats> {
    let mut stats = metadata.page_encoding_stats().cloned().unwrap_or_default();
    for stat in &mut stats {
        if stat.page_type == PageType::DATA_PAGE {
            stat.count = pages as i32;
        }
    }
    stats
}

/// These rows in a file of their own, and its only chunk taken apart.
fn encode(field: &Field, array: ArrayRef) -> Result<Encoded> {
    let schema = Arc::new(Schema::new(vec![field.clone()]));
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS)
        .build();
    let batch = RecordBatch::try_new(schema.clone(), vec![array])?;
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, schema, Some(properties))?;
    writer.write(&batch)?;
    let metadata = writer.close()?.row_group(0).column(0).clone();
    let file = Bytes::from(file);
    let data = metadata.data_page_offset() as usize;
    let start = metadata
        .dictionary_page_offset()
        .map_or(data, |at| at as usize);
    let end = start + metadata.compressed_size() as usize;
    Ok(Encoded {
        dictionary: file.slice(start..data),
        page: file.slice(data..end),
        metadata,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, BooleanArray, StringArray};
    use arrow::datatypes::DataType;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    fn text(rows: usize) -> ArrayRef {
        Arc::new(StringArray::from(vec!["always"; rows]))
    }

    fn no(rows: usize) -> ArrayRef {
        Arc::new(BooleanArray::from(vec![false; rows]))
    }

    #[test]
    fn any_number_of_rows_is_read_back() {
        let constants = [
            Constant::new(Field::new("text", DataType::Utf8, true), text).expect("a column"),
            Constant::new(Field::new("no", DataType::Boolean, true), no).expect("a column"),
        ];
        let fields: Vec<Field> = constants
            .iter()
            .map(|constant| constant.field().clone())
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let groups = [1, PAGE_ROWS - 1, PAGE_ROWS, 3 * PAGE_ROWS + 5];
        let mut file = Vec::new();
        let writer = ArrowWriter::try_new(&mut file, schema, None).expect("a writer");
        let (mut writer, _) = writer.into_serialized_writer().expect("a writer");
        for rows in groups {
            let mut group = writer.next_row_group().expect("a group");
            for constant in &constants {
                constant.append_to(&mut group, rows).expect("a chunk");
            }
            group.close().expect("a group");
        }
        writer.close().expect("a file");

        let reader =
            ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).expect("a Parquet file");
        let mut read = 0;
        for batch in reader.build().expect("a reader") {
            let batch = batch.expect("rows");
            read += batch.num_rows();
            assert!(
                batch["text"]
                    .as_string::<i32>()
                    .iter()
                    .all(|value| value == Some("always"))
            );
            assert!(
                batch["no"]
                    .as_boolean()
                    .iter()
                    .all(|value| value == Some(false))
            );
        }
        assert_eq!(read, groups.iter().sum::<usize>());
    }
}
