//! Values of one column on their way into an Arrow array. Nothing is allocated per value.

use super::{Carried, TextForm, array_json, binary, text};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, NullBufferBuilder, PrimitiveArray,
    StringArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use std::sync::Arc;

/// A value that its column cannot hold, or that is not of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    #[error("a value is not of the form that its type has")]
    Malformed,
    #[error("a value is outside the range that the lake's type can hold")]
    OutOfRange,
    #[error("a text is not valid UTF-8")]
    NotUtf8,
    #[error("the texts of one batch are more than 2 GiB")]
    TooLong,
}

/// What a value becomes: infinities and NaN have no place in some types.
pub(super) type Held<T> = Result<Option<T>, BadValue>;

/// Builds one column.
pub struct ColumnBuilder {
    carried: Carried,
    values: Values,
    nulls: NullBufferBuilder,
    nulled: u64,
}

enum Values {
    Boolean(BooleanBufferBuilder),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Int128(Vec<i128>),
    Bytes { bytes: Vec<u8>, offsets: Vec<i32> },
}

impl ColumnBuilder {
    pub fn new(carried: &Carried) -> Self {
        Self {
            carried: carried.clone(),
            values: Values::new(carried),
            nulls: NullBufferBuilder::new(0),
            nulled: 0,
        }
    }

    /// Values that became NULL because the type of the lake cannot hold them, since the beginning.
    pub fn nulled(&self) -> u64 {
        self.nulled
    }

    pub fn len(&self) -> usize {
        self.nulls.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nulls.len() == 0
    }

    /// Bytes of the values so far, roughly.
    pub fn bytes(&self) -> usize {
        match &self.values {
            Values::Boolean(values) => values.len() / 8,
            Values::Int32(values) => values.len() * 4,
            Values::Int64(values) => values.len() * 8,
            Values::Float32(values) => values.len() * 4,
            Values::Float64(values) => values.len() * 8,
            Values::Int128(values) => values.len() * 16,
            Values::Bytes { bytes, offsets } => bytes.len() + offsets.len() * 4,
        }
    }

    pub fn append_null(&mut self) {
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int32(values) => values.push(0),
            Values::Int64(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Int128(values) => values.push(0),
            Values::Bytes { offsets, .. } => {
                let end = offsets.last().copied().unwrap_or_default();
                offsets.push(end);
            }
        }
        self.nulls.append_null();
    }

    /// A value as COPY binary gives it for what `Carried::selected` asks.
    #[inline]
    pub fn append_binary(&mut self, value: &[u8]) -> Result<(), BadValue> {
        let held = match (&self.carried, &mut self.values) {
            (
                Carried::Text(TextForm::Plain | TextForm::FromServer) | Carried::Binary,
                Values::Bytes { bytes, offsets },
            ) => {
                bytes.extend_from_slice(value);
                end_value(bytes, offsets)?
            }
            (Carried::Int32, Values::Int32(values)) => push(values, binary::int32(value)?),
            (Carried::Int64, Values::Int64(values)) => push(values, binary::int64(value)?),
            (Carried::Decimal { precision, scale }, Values::Int128(values)) => {
                push(values, binary::decimal(value, *precision, *scale)?)
            }
            (Carried::Timestamp | Carried::TimestampUtc, Values::Int64(values)) => {
                push(values, binary::timestamp(value)?)
            }
            (Carried::Date, Values::Int32(values)) => push(values, binary::date(value)?),
            (Carried::Boolean, Values::Boolean(values)) => {
                values.append(binary::boolean(value)?);
                true
            }
            (Carried::Float32, Values::Float32(values)) => push(values, binary::float32(value)?),
            (Carried::Float64, Values::Float64(values)) => push(values, binary::float64(value)?),
            (Carried::Text(TextForm::Versioned), Values::Bytes { bytes, offsets }) => {
                bytes.extend_from_slice(binary::versioned(value)?);
                end_value(bytes, offsets)?
            }
            (Carried::Text(TextForm::Uuid), Values::Bytes { bytes, offsets }) => {
                binary::uuid(value, bytes)?;
                end_value(bytes, offsets)?
            }
            (Carried::Array(form), Values::Bytes { bytes, offsets }) => {
                array_json::write(value, *form, bytes)?;
                end_value(bytes, offsets)?
            }
            _ => return Err(BadValue::Malformed),
        };
        self.mark(held);
        Ok(())
    }

    /// A value as Postgres's output function gives it under `source::SESSION`.
    pub fn append_text(&mut self, value: &str) -> Result<(), BadValue> {
        let held = match (&self.carried, &mut self.values) {
            (Carried::Text(_), Values::Bytes { bytes, offsets }) => {
                bytes.extend_from_slice(value.as_bytes());
                end_value(bytes, offsets)?
            }
            (Carried::Binary, Values::Bytes { bytes, offsets }) => {
                text::bytea(value, bytes)?;
                end_value(bytes, offsets)?
            }
            (Carried::Array(form), Values::Bytes { bytes, offsets }) => {
                array_json::write(value.as_bytes(), *form, bytes)?;
                end_value(bytes, offsets)?
            }
            (Carried::Int32, Values::Int32(values)) => push(values, Some(text::parsed(value)?)),
            (Carried::Int64, Values::Int64(values)) => push(values, Some(text::parsed(value)?)),
            (Carried::Float32, Values::Float32(values)) => push(values, Some(text::parsed(value)?)),
            (Carried::Float64, Values::Float64(values)) => push(values, Some(text::parsed(value)?)),
            (Carried::Decimal { precision, scale }, Values::Int128(values)) => {
                push(values, text::decimal(value, *precision, *scale)?)
            }
            (Carried::Date, Values::Int32(values)) => push(values, text::date(value)?),
            (Carried::Timestamp, Values::Int64(values)) => push(values, text::timestamp(value)?),
            (Carried::TimestampUtc, Values::Int64(values)) => {
                push(values, text::timestamp_with_zone(value)?)
            }
            (Carried::Boolean, Values::Boolean(values)) => {
                values.append(text::boolean(value)?);
                true
            }
            _ => return Err(BadValue::Malformed),
        };
        self.mark(held);
        Ok(())
    }

    #[inline]
    fn mark(&mut self, held: bool) {
        if held {
            self.nulls.append_non_null();
        } else {
            self.nulls.append_null();
            self.nulled += 1;
        }
    }

    /// The column so far; the builder is empty again and keeps its count of nulled values.
    pub fn finish(&mut self) -> Result<ArrayRef, BadValue> {
        let nulls = self.nulls.finish();
        Ok(match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int32(values) if self.carried == Carried::Date => {
                primitive::<Date32Type>(values, nulls)
            }
            Values::Int32(values) => primitive::<Int32Type>(values, nulls),
            Values::Int64(values) if self.carried == Carried::Int64 => {
                primitive::<Int64Type>(values, nulls)
            }
            Values::Int64(values) => {
                let array =
                    PrimitiveArray::<TimestampMicrosecondType>::new(take(values).into(), nulls);
                Arc::new(array.with_data_type(self.carried.arrow_type()))
            }
            Values::Float32(values) => primitive::<Float32Type>(values, nulls),
            Values::Float64(values) => primitive::<Float64Type>(values, nulls),
            Values::Int128(values) => {
                let array = PrimitiveArray::<Decimal128Type>::new(take(values).into(), nulls);
                Arc::new(array.with_data_type(self.carried.arrow_type()))
            }
            Values::Bytes { bytes, offsets } => {
                let next = Vec::with_capacity(offsets.len());
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(
                    offsets,
                    first_offset(next),
                )));
                let bytes = Buffer::from(take(bytes));
                if self.carried == Carried::Binary {
                    Arc::new(BinaryArray::new(offsets, bytes, nulls))
                } else {
                    // One look at all texts together: the server may hold other bytes under `SQL_ASCII`.
                    Arc::new(
                        StringArray::try_new(offsets, bytes, nulls)
                            .map_err(|_| BadValue::NotUtf8)?,
                    )
                }
            }
        })
    }
}

impl Values {
    fn new(carried: &Carried) -> Self {
        match carried {
            Carried::Boolean => Self::Boolean(BooleanBufferBuilder::new(0)),
            Carried::Int32 | Carried::Date => Self::Int32(Vec::new()),
            Carried::Int64 | Carried::Timestamp | Carried::TimestampUtc => Self::Int64(Vec::new()),
            Carried::Float32 => Self::Float32(Vec::new()),
            Carried::Float64 => Self::Float64(Vec::new()),
            Carried::Decimal { .. } => Self::Int128(Vec::new()),
            Carried::Binary | Carried::Text(_) | Carried::Array(_) => Self::Bytes {
                bytes: Vec::new(),
                offsets: first_offset(Vec::new()),
            },
        }
    }
}

fn first_offset(mut offsets: Vec<i32>) -> Vec<i32> {
    offsets.push(0);
    offsets
}

/// The vector, and in its place an empty one of the same capacity: the next batch is as large.
fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(values.len());
    std::mem::replace(values, next)
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<arrow::buffer::NullBuffer>,
) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(take(values).into(), nulls))
}

/// Whether the value is held; one that is not leaves a zero under its null.
#[inline]
fn push<T: Default>(values: &mut Vec<T>, value: Option<T>) -> bool {
    let held = value.is_some();
    values.push(value.unwrap_or_default());
    held
}

#[inline]
fn end_value(bytes: &[u8], offsets: &mut Vec<i32>) -> Result<bool, BadValue> {
    offsets.push(i32::try_from(bytes.len()).map_err(|_| BadValue::TooLong)?);
    Ok(true)
}
