//! A new Hudi table with the options of its plan.

use super::{HudiTable, failed, reached};
use crate::failure::Failure;
use crate::store::Location;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use futures::FutureExt;
use hudi_core::config::table::TableTypeValue;
use std::collections::BTreeMap;

/// Makes a table without rows. `columns` are those it has as long as nothing was committed.
pub async fn create(
    folder: &Location,
    options: &BTreeMap<String, String>,
    columns: &Schema,
) -> Result<HudiTable, Failure> {
    let mut builder = hudi_core::table::Table::create(folder.base_uri())
        .with_table_type(TableTypeValue::CopyOnWrite)
        .with_option("hoodie.table.create.schema", avro(columns)?);
    for (name, value) in reached(folder) {
        builder = builder.with_storage_option(name, value);
    }
    for (name, value) in options {
        let listed = || value.split(',').map(str::to_owned);
        builder = match (name.as_str(), value.as_str()) {
            ("hoodie.table.name", _) => builder.with_table_name(value),
            ("hoodie.table.version", "8") => builder.with_table_version(8),
            ("hoodie.table.precombine.field", _) => builder.with_ordering_fields(listed()),
            ("hoodie.table.recordkey.fields", _) => builder.with_record_key_fields(listed()),
            ("hoodie.table.partition.fields", _) => builder.with_partition_fields(listed()),
            ("hoodie.datasource.write.hive_style_partitioning", _) => {
                builder.with_hive_style_partitioning(value == "true")
            }
            ("hoodie.metadata.enable", "false") => builder.with_metadata_table_enabled(false),
            // The library writes these by itself, out of the fields above.
            ("hoodie.table.type", "COPY_ON_WRITE")
            | ("hoodie.table.base.file.format", "PARQUET")
            | ("hoodie.record.merge.mode", "EVENT_TIME_ORDERING")
            | ("hoodie.datasource.write.drop.partition.columns", "false")
            | ("hoodie.table.keygenerator.class", _) => builder,
            ("hoodie.table.timeline.timezone", _) => builder.with_option(name, value),
            _ => return Err(refused(name, value)),
        };
    }
    let table = builder
        .create()
        .boxed()
        .await
        .map_err(|error| failed("be made", folder, error))?;
    Ok(HudiTable {
        table,
        folder: folder.clone(),
    })
}

fn refused(name: &str, value: &str) -> Failure {
    Failure::new(
        "TableOptionUnsupported",
        format!("the native engine makes no table with `{name}`: {value}"),
    )
    .hint("use `\"engine\": \"spark\"` for this table")
}

/// The Avro form of a schema, as Hudi keeps it in the table's options.
fn avro(columns: &Schema) -> Result<String, Failure> {
    let fields = columns
        .fields()
        .iter()
        .map(|field| {
            Ok(serde_json::json!({
                "name": field.name(),
                "type": ["null", avro_type(field)?],
                "default": null,
            }))
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    Ok(
        serde_json::json!({"type": "record", "name": "hoodie_record", "fields": fields})
            .to_string(),
    )
}

fn avro_type(field: &Field) -> Result<serde_json::Value, Failure> {
    use serde_json::json;
    Ok(match field.data_type() {
        DataType::Boolean => json!("boolean"),
        DataType::Int32 => json!("int"),
        DataType::Int64 => json!("long"),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Utf8 => json!("string"),
        DataType::Binary => json!("bytes"),
        DataType::Date32 => json!({"type": "int", "logicalType": "date"}),
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            json!({"type": "long", "logicalType": "local-timestamp-micros"})
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            json!({"type": "long", "logicalType": "timestamp-micros"})
        }
        DataType::Decimal128(precision, scale) => {
            json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
        }
        other => {
            return Err(Failure::new(
                "TypeUnsupported",
                format!(
                    "column `{}` has a type that no Hudi table holds: {other}",
                    field.name()
                ),
            )
            .hint("convert it in the source, or drop the column"));
        }
    })
}
