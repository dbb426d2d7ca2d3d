//! Which columns are compared: those of the source that change streams carry, the key's first.

use super::rule::{Rule, SourceType};
use crate::failure::Failure;
use crate::source::{failed, quoted_table};
use crate::types::lake_column;
use arrow::datatypes::{DataType, Schema};
use pipeline::path::TableName;
use pipeline::value::list;
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// One column on both sides.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub source: SourceType,
    /// `None`: silver does not have it.
    pub lake: Option<DataType>,
    pub rule: Rule,
}

/// The columns of a table, and how many of the first ones are its key.
#[derive(Debug, Clone)]
pub struct Columns {
    pub columns: Vec<Column>,
    pub key: usize,
}

impl Columns {
    /// Those of the source, each with its type in silver.
    pub fn new(
        table: &TableName,
        source: Vec<(String, SourceType)>,
        key: &[String],
        silver: &Schema,
    ) -> Result<Self, Failure> {
        let mut rest: BTreeMap<usize, (String, SourceType)> =
            source.into_iter().enumerate().collect();
        let mut ordered = Vec::with_capacity(rest.len());
        for name in key {
            let at = rest.iter().find(|(_, column)| column.0 == *name);
            let at = at
                .map(|(at, _)| *at)
                .ok_or_else(|| key_missing(table, name))?;
            ordered.extend(rest.remove(&at));
        }
        ordered.extend(rest.into_values());
        let columns = ordered.into_iter().map(|(name, source)| {
            let lake = silver
                .column_with_name(&name)
                .map(|(_, field)| field.data_type().clone());
            Column {
                rule: Rule::of(&source, lake.as_ref()),
                name,
                source,
                lake,
            }
        });
        Ok(Self {
            columns: columns.collect(),
            key: key.len(),
        })
    }

    /// Only those of the key.
    pub fn only_key(&self) -> Self {
        Self {
            columns: self.columns[..self.key].to_vec(),
            key: self.key,
        }
    }

    /// Names of columns that silver does not have.
    pub fn absent(&self) -> Vec<&str> {
        let absent = |column: &&Column| column.lake.is_none();
        let columns = self.columns.iter().filter(absent);
        columns.map(|column| column.name.as_str()).collect()
    }
}

fn key_missing(table: &TableName, name: &str) -> Failure {
    Failure::new(
        "ColumnMissing",
        format!(
            "`{table}` of the source has no column `{name}`, which is in `hudi_config.primary_key`"
        ),
    )
}

/// Generated columns are left out: they are neither loaded nor in a change stream. Domains are undone, arrays are their element with a delimiter.
const COLUMNS: &str = "
    WITH RECURSIVE below (number, name, type, delimiter) AS (
      SELECT attnum, attname::text, atttypid, NULL::text
      FROM pg_catalog.pg_attribute
      WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
      UNION ALL
      SELECT number, name,
        CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END,
        CASE t.typtype WHEN 'd' THEN delimiter ELSE t.typdelim::text END
      FROM below JOIN pg_catalog.pg_type t ON t.oid = type
      WHERE t.typtype = 'd' OR (delimiter IS NULL AND t.typoutput = 'array_out'::regproc))
    SELECT name, CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN t.typname::text ELSE '' END, delimiter
    FROM below JOIN pg_catalog.pg_type t ON t.oid = type
    WHERE t.typtype <> 'd' AND (delimiter IS NOT NULL OR t.typoutput <> 'array_out'::regproc)
    ORDER BY number";

/// The columns of a table of the source, in their order.
pub async fn of_source(
    client: &Client,
    table: &TableName,
) -> Result<Vec<(String, SourceType)>, Failure> {
    let rows = client
        .query(COLUMNS, &[&quoted_table(table)])
        .await
        .map_err(|error| failed(&format!("the columns of `{table}` cannot be read"), &error))?;
    let columns = rows.iter().map(|row| {
        let delimiter: Option<&str> = row.get(2);
        let source = SourceType {
            name: row.get(1),
            delimiter: delimiter.and_then(|text| text.bytes().next()),
        };
        (row.get(0), source)
    });
    Ok(columns.collect())
}

/// The columns that are generated, which neither loads nor change streams carry.
pub async fn generated(client: &Client, table: &TableName) -> Result<Vec<String>, Failure> {
    let sql = "SELECT attname::text FROM pg_catalog.pg_attribute
        WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated <> ''
        ORDER BY attnum";
    let rows = client
        .query(sql, &[&quoted_table(table)])
        .await
        .map_err(|error| failed(&format!("the columns of `{table}` cannot be read"), &error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Columns of either side that were not compared, in a line each.
pub fn left_out(compared: &Columns, generated: &[String], silver: &Schema) -> Vec<String> {
    let only_there = |name: &&str| compared.columns.iter().all(|column| column.name != **name);
    let of_silver: Vec<&str> = silver
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .filter(|name| lake_column(name).is_none() && !name.starts_with("_hoodie_"))
        .filter(only_there)
        .collect();
    let generated: Vec<&str> = generated.iter().map(String::as_str).collect();
    [
        ("the source generates, and nothing carries", generated),
        ("only silver has", of_silver),
    ]
    .into_iter()
    .filter(|(_, columns)| !columns.is_empty())
    .map(|(what, columns)| format!("not compared, because {what}: {}", list(&columns)))
    .collect()
}
