//! How a silver table keeps the columns of a load.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

/// The columns of a load as its table keeps them: a timestamp without zone as if it were UTC.
/// Spark with Hudi 1.0.2 knows only timestamps with zone; it would read the other kind as `bigint`.
pub fn columns(load: &Schema) -> SchemaRef {
    let fields = load.fields().iter().map(|field| match field.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
            Arc::new(Field::new(field.name(), utc, field.is_nullable()))
        }
        _ => field.clone(),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
