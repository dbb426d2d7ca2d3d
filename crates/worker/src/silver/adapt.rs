//! Columns of a change file brought to the columns of the table, without losing anything.

use crate::failure::Failure;
use crate::types::lake_column;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float32Array, PrimitiveArray,
    new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use arrow::record_batch::RecordBatch;
use pipeline::plan::TableWork;
use std::sync::Arc;

/// Brings batches to a table's columns.
#[derive(Debug, Clone)]
pub struct Adapter {
    schema: SchemaRef,
    /// `schema.table` of the source.
    table: String,
    reload: String,
}

impl Adapter {
    pub fn of(schema: SchemaRef, work: &TableWork) -> Self {
        Self::new(schema, work.source.to_string(), work.reload())
    }

    /// `reload` is the command that helps when the table does not take a change.
    pub fn new(schema: SchemaRef, table: String, reload: String) -> Self {
        Self {
            schema,
            table,
            reload,
        }
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The batch with the table's columns: those that it lacks are NULL.
    pub fn adapt(&self, batch: &RecordBatch) -> Result<RecordBatch, Failure> {
        self.refuse_added(batch)?;
        let columns = self
            .schema
            .fields()
            .iter()
            .map(|field| match batch.column_by_name(field.name()) {
                None => Ok(new_null_array(field.data_type(), batch.num_rows())),
                Some(column) => lossless(column, field.data_type()).map_err(|reason| {
                    self.changed(field.name(), column, field.data_type(), reason)
                }),
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        RecordBatch::try_new(self.schema.clone(), columns).map_err(|error| {
            Failure::new(
                "ColumnTypeChanged",
                format!("changes of `{}` do not fit its table: {error}", self.table),
            )
            .hint(&self.reload)
        })
    }

    /// The library adds no columns to a table.
    fn refuse_added(&self, batch: &RecordBatch) -> Result<(), Failure> {
        let schema = batch.schema();
        let added: Vec<&str> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .filter(|name| self.schema.field_with_name(name).is_err())
            .filter(|name| lake_column(name).is_none())
            .collect();
        if added.is_empty() {
            return Ok(());
        }
        Err(Failure::new(
            "NeedsReseed",
            format!(
                "`{}` needs re-seed: changes have columns that its table lacks: `{}`",
                self.table,
                added.join("`, `")
            ),
        )
        .hint(&self.reload))
    }

    fn changed(
        &self,
        name: &str,
        found: &ArrayRef,
        expected: &DataType,
        reason: String,
    ) -> Failure {
        Failure::new(
            "ColumnTypeChanged",
            format!(
                "column `{name}` of `{}` came as {}, which does not fit the table's {expected}: {reason}",
                self.table,
                found.data_type()
            ),
        )
        .hint(&self.reload)
    }
}

/// The same values in another type, or why they are not the same there.
fn lossless(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Date64, Decimal128, Float32, Float64, Int8, Int16,
        Int32, Int64, LargeBinary, LargeUtf8, Null, Timestamp, UInt8, UInt16, UInt32, Utf8,
        Utf8View,
    };
    match (column.data_type(), to) {
        (from, to) if from == to => Ok(column.clone()),
        (Null, to) => Ok(new_null_array(to, column.len())),
        (Utf8 | LargeUtf8 | Utf8View, Boolean) => boolean(column),
        (Timestamp(..), Timestamp(TimeUnit::Microsecond, _)) => microseconds(column, to),
        (Decimal128(..), Decimal128(precision, scale)) => decimal(column, *precision, *scale),
        (Float64, Float32) => float32(column),
        (Date64, Date32)
        | (Float32, Float64)
        | (LargeUtf8 | Utf8View, Utf8)
        | (LargeBinary | BinaryView, Binary)
        | (
            Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32,
            Int32 | Int64 | Decimal128(..),
        ) => checked(column, to),
        _ => Err("no value of one is surely a value of the other".to_owned()),
    }
}

/// A cast that fails where a value does not fit.
fn checked(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(column, to, &options).map_err(|error| error.to_string())
}

/// AWS DMS writes booleans as text, unless it is told otherwise.
fn boolean(column: &ArrayRef) -> Result<ArrayRef, String> {
    let text = checked(column, &DataType::Utf8)?;
    text.as_string::<i32>()
        .iter()
        .map(|value| match value {
            None => Ok(None),
            Some("true" | "t") => Ok(Some(true)),
            Some("false" | "f") => Ok(Some(false)),
            Some(other) => Err(format!("`{other}` is no boolean")),
        })
        .collect::<Result<BooleanArray, _>>()
        .map(|array| Arc::new(array) as ArrayRef)
}

fn microseconds(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    let DataType::Timestamp(unit, _) = column.data_type() else {
        return Err("it is no timestamp".to_owned());
    };
    let numbers = checked(column, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<arrow::datatypes::Int64Type>();
    let (times, divided) = match unit {
        TimeUnit::Second => (1_000_000, 1),
        TimeUnit::Millisecond => (1000, 1),
        TimeUnit::Microsecond => (1, 1),
        TimeUnit::Nanosecond => (1, 1000),
    };
    let array: PrimitiveArray<TimestampMicrosecondType> = numbers
        .try_unary(|number| {
            if number % divided != 0 {
                return Err(arrow::error::ArrowError::CastError(
                    "a moment is finer than a microsecond".to_owned(),
                ));
            }
            (number / divided).checked_mul(times).ok_or_else(|| {
                arrow::error::ArrowError::CastError("a moment is out of range".to_owned())
            })
        })
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(array.with_data_type(to.clone())))
}

fn decimal(column: &ArrayRef, precision: u8, scale: i8) -> Result<ArrayRef, String> {
    let from = column.as_primitive::<Decimal128Type>();
    let steps = i32::from(scale) - i32::from(from.scale());
    let factor = 10_i128
        .checked_pow(steps.unsigned_abs())
        .ok_or("the scales are too far apart")?;
    let array: Decimal128Array = from
        .try_unary(|value| {
            let scaled = match steps {
                0.. => value.checked_mul(factor),
                _ if value % factor == 0 => Some(value / factor),
                _ => None,
            };
            scaled.ok_or_else(|| {
                arrow::error::ArrowError::CastError("a number has more digits".to_owned())
            })
        })
        .map_err(|error| error.to_string())?;
    array
        .validate_decimal_precision(precision)
        .and_then(|()| array.with_precision_and_scale(precision, scale))
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(|error| error.to_string())
}

fn float32(column: &ArrayRef) -> Result<ArrayRef, String> {
    column
        .as_primitive::<Float64Type>()
        .iter()
        .map(|value| match value {
            Some(value) if !value.is_nan() && f64::from(value as f32) != value => {
                Err(format!("{value} has more digits"))
            }
            value => Ok(value.map(|value| value as f32)),
        })
        .collect::<Result<Float32Array, _>>()
        .map(|array| Arc::new(array) as ArrayRef)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        Float64Array, Int16Array, Int32Array, Int64Array, StringArray, TimestampMillisecondArray,
        TimestampNanosecondArray,
    };
    use arrow::util::display::{ArrayFormatter, FormatOptions};

    fn decimals(values: &[i128], precision: u8, scale: i8) -> ArrayRef {
        Arc::new(
            Decimal128Array::from_iter_values(values.iter().copied())
                .with_precision_and_scale(precision, scale)
                .unwrap(),
        )
    }

    #[test]
    fn values_are_carried_without_loss_or_not_at_all() {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let right: [(ArrayRef, DataType, &str); 7] = [
            (
                Arc::new(StringArray::from(vec![Some("true"), Some("f"), None])),
                DataType::Boolean,
                "true,false,",
            ),
            (
                Arc::new(Int16Array::from(vec![Some(-7), None])),
                DataType::Int32,
                "-7,",
            ),
            (Arc::new(Int64Array::from(vec![7])), DataType::Int32, "7"),
            (
                Arc::new(Int32Array::from(vec![7])),
                DataType::Decimal128(10, 2),
                "7.00",
            ),
            (
                Arc::new(TimestampMillisecondArray::from(vec![1])),
                micros.clone(),
                "1000",
            ),
            (
                decimals(&[1500], 10, 3),
                DataType::Decimal128(12, 2),
                "1.50",
            ),
            (
                Arc::new(Float64Array::from(vec![0.5, f64::NAN])),
                DataType::Float32,
                "0.5,NaN",
            ),
        ];
        for (array, to, expected) in right {
            let carried = lossless(&array, &to).unwrap();
            assert_eq!(carried.data_type(), &to);
            assert_eq!(shown(&carried), expected);
        }
        let wrong: [(ArrayRef, DataType); 7] = [
            (Arc::new(StringArray::from(vec!["yes"])), DataType::Boolean),
            (Arc::new(Int64Array::from(vec![1 << 40])), DataType::Int32),
            (Arc::new(TimestampNanosecondArray::from(vec![1])), micros),
            (decimals(&[1501], 10, 3), DataType::Decimal128(12, 2)),
            (decimals(&[99_999], 10, 0), DataType::Decimal128(5, 2)),
            (Arc::new(Float64Array::from(vec![0.1])), DataType::Float32),
            (decimals(&[1_500_000], 28, 6), DataType::Utf8),
        ];
        for (array, to) in wrong {
            assert!(
                lossless(&array, &to).is_err(),
                "{:?} to {to}",
                array.data_type()
            );
        }
    }

    fn shown(array: &ArrayRef) -> String {
        let moments = matches!(array.data_type(), DataType::Timestamp(..));
        let array = match moments {
            true => checked(array, &DataType::Int64).unwrap(),
            false => array.clone(),
        };
        let text = ArrayFormatter::try_new(&array, &FormatOptions::default()).unwrap();
        let texts: Vec<String> = (0..array.len())
            .map(|row| text.value(row).to_string())
            .collect();
        texts.join(",")
    }
}
