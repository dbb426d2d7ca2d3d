//! Changes of one table on their way into a change file.

use crate::failure::Failure;
use crate::types::{self, BadValue, Carried, ColumnBuilder};
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::buffer::{Buffer as Bytes, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema};
use pg_walstream::protocol::{ColumnData, TupleData};
use pipeline::path::TableName;
use pipeline::seq::CHANGE_SEQ_DIGITS;
use std::sync::Arc;

/// A table as the stream describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    pub table: TableName,
    pub columns: Vec<ShapeColumn>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeColumn {
    pub name: String,
    pub carried: Carried,
    /// Part of the replica identity that is not the whole row.
    pub key: bool,
    /// Part of the lake table's record key.
    pub record_key: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Insert,
    Update,
    Delete,
}

/// Why a change cannot be carried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Uncarried {
    #[error(
        "an update did not carry the large value of `{0}`, which it left as it was (`ALTER TABLE … REPLICA IDENTITY FULL` makes it do so)"
    )]
    Unchanged(String),
    #[error("a value of `{column}` cannot be carried: {reason}")]
    Value { column: String, reason: BadValue },
    #[error("a change has another number of columns than its table")]
    Columns,
}

/// The row before a change, as far as the stream gives it.
#[derive(Clone, Copy)]
pub enum Before<'a> {
    Nothing,
    Key(&'a TupleData),
    Whole(&'a TupleData),
}

pub struct Buffer {
    pub shape: Shape,
    builders: Vec<ColumnBuilder>,
    ops: Vec<Op>,
    seqs: Vec<u8>,
    /// Bytes of the changes as they came.
    pub bytes: usize,
}

impl Buffer {
    pub fn new(shape: Shape) -> Self {
        let builders = shape
            .columns
            .iter()
            .map(|column| ColumnBuilder::new(&column.carried));
        Self {
            builders: builders.collect(),
            shape,
            ops: Vec::new(),
            seqs: Vec::new(),
            bytes: 0,
        }
    }

    pub fn rows(&self) -> usize {
        self.ops.len()
    }

    /// Whether an update moves the row to another key.
    pub fn moves(&self, new: &TupleData, before: Before<'_>) -> bool {
        let differs = |old: &TupleData, is_key: fn(&ShapeColumn) -> bool| {
            self.shape
                .columns
                .iter()
                .enumerate()
                .any(|(index, column)| {
                    is_key(column)
                        && match (new.get_column(index), old.get_column(index)) {
                            (Some(new), Some(old)) => !new.is_unchanged() && new != old,
                            _ => false,
                        }
                })
        };
        match before {
            Before::Nothing => false,
            Before::Key(old) => differs(old, |column| column.key),
            Before::Whole(old) => differs(old, |column| column.record_key),
        }
    }

    /// After an error the buffer holds half a row: it must be thrown away.
    pub fn append(
        &mut self,
        op: Op,
        seq: &[u8; CHANGE_SEQ_DIGITS],
        row: &TupleData,
        before: Before<'_>,
    ) -> Result<(), Uncarried> {
        if row.column_count() != self.builders.len() {
            return Err(Uncarried::Columns);
        }
        for (index, value) in row.columns.iter().enumerate() {
            let column = &self.shape.columns[index];
            let value = if value.is_unchanged() {
                unchanged(index, column, before)?
            } else {
                value
            };
            append_value(&mut self.builders[index], value).map_err(|reason| Uncarried::Value {
                column: column.name.clone(),
                reason,
            })?;
        }
        self.ops.push(op);
        self.seqs.extend_from_slice(seq);
        Ok(())
    }

    /// Whether an update can be carried whole.
    pub fn check_unchanged(&self, row: &TupleData, before: Before<'_>) -> Result<(), Uncarried> {
        for (index, (value, column)) in row.columns.iter().zip(&self.shape.columns).enumerate() {
            if value.is_unchanged() {
                unchanged(index, column, before)?;
            }
        }
        Ok(())
    }

    /// The changes so far; the buffer is empty again. Also how many values became NULL, by column.
    pub fn take(&mut self) -> Result<(RecordBatch, Vec<(String, u64)>), Failure> {
        let mut full = std::mem::replace(self, Self::new(self.shape.clone()));
        let failed = |error: &(dyn std::error::Error + 'static)| {
            Failure::new(
                "BatchFailed",
                format!("changes of `{}` do not make a file", full.shape.table),
            )
            .caused_by(error)
        };
        let mut fields = vec![Field::new(types::OP, DataType::Utf8, true)];
        let ops = full.ops.iter().map(|op| match op {
            Op::Insert => "I",
            Op::Update => "U",
            Op::Delete => "D",
        });
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(StringArray::from_iter_values(ops))];
        let mut nulled = Vec::new();
        for (column, builder) in full.shape.columns.iter().zip(&mut full.builders) {
            fields.push(Field::new(&column.name, column.carried.arrow_type(), true));
            arrays.push(builder.finish().map_err(|error| failed(&error))?);
            if builder.nulled() > 0 {
                nulled.push((column.name.clone(), builder.nulled()));
            }
        }
        fields.push(Field::new(types::TRX_SEQ, DataType::Utf8, true));
        arrays.push(Arc::new(
            numbers(full.ops.len(), full.seqs).map_err(|error| failed(&error))?,
        ));
        fields.push(Field::new(types::IS_DELETED, DataType::Boolean, true));
        let deleted: Vec<bool> = full.ops.iter().map(|op| *op == Op::Delete).collect();
        arrays.push(Arc::new(BooleanArray::from(deleted)));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .map_err(|error| failed(&error))?;
        Ok((batch, nulled))
    }
}

fn numbers(rows: usize, digits: Vec<u8>) -> Result<StringArray, arrow::error::ArrowError> {
    let offsets = (0..=rows).map(|row| (row * CHANGE_SEQ_DIGITS) as i32);
    let offsets = OffsetBuffer::new(ScalarBuffer::from_iter(offsets));
    StringArray::try_new(offsets, Bytes::from(digits), None)
}

/// The value that an update did not send because it did not change it.
fn unchanged<'a>(
    index: usize,
    column: &ShapeColumn,
    before: Before<'a>,
) -> Result<&'a ColumnData, Uncarried> {
    let old = match before {
        Before::Whole(old) => old.get_column(index),
        Before::Key(old) if column.key => old.get_column(index),
        Before::Key(_) | Before::Nothing => None,
    };
    // A large value is not NULL: the row before is called whole where its partition gives only a key and its parent is to give all.
    old.filter(|value| !value.is_unchanged() && !value.is_null())
        .ok_or_else(|| Uncarried::Unchanged(column.name.clone()))
}

fn append_value(builder: &mut ColumnBuilder, value: &ColumnData) -> Result<(), BadValue> {
    if value.is_null() {
        builder.append_null();
        return Ok(());
    }
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| BadValue::NotUtf8)?;
    builder.append_text(text)
}
