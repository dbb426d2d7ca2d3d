//! Record keys as Hudi renders them, and the columns that Hudi can hold.

use crate::failure::Failure;
use arrow::array::{Array, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use pipeline::plan::{Engine, Partitioning, TableType, TableWork};

/// What Hudi writes for an empty part of a key, and for NULL.
const EMPTY: &str = "__empty__";
const NULL: &str = "__null__";

/// The key columns of a table.
#[derive(Debug, Clone)]
pub struct KeyColumns {
    names: Vec<String>,
    table: String,
}

/// Why the columns cannot be held, before anything is written.
pub fn check_columns(work: &TableWork, schema: &Schema, engine: Engine) -> Result<(), Failure> {
    for field in schema.fields() {
        let name = field.name();
        if !legal(name) || name.starts_with("_hoodie_") && name != "_hoodie_is_deleted" {
            return Err(Failure::new(
                "ColumnNameUnsupported",
                format!(
                    "column `{name}` of `{}` has a name that Hudi cannot hold",
                    work.source
                ),
            )
            .hint("rename it in the source to letters, digits and `_`, or remove `hudi_config` of this table"));
        }
    }
    if let Partitioning::By(columns) = &work.partitioning {
        if engine == Engine::Native && columns.len() > 1 && work.primary_key.len() == 1 {
            return Err(unsupported(
                "PartitioningUnsupported",
                format!(
                    "`{}` has one key column and several partition columns, for which versions of Hudi write different keys",
                    work.source
                ),
            ));
        }
        for name in columns {
            typed(work, schema, name, "partition column", |kind| {
                engine == Engine::Spark
                    || matches!(kind, DataType::Utf8 | DataType::Int32 | DataType::Int64)
            })?;
        }
    }
    for name in &work.primary_key {
        typed(work, schema, name, "key column", |kind| {
            engine == Engine::Spark
                || matches!(
                    kind,
                    DataType::Utf8 | DataType::Int32 | DataType::Int64 | DataType::Boolean
                )
        })?;
    }
    Ok(())
}

/// The rows of a table are counted by its base files: one that has others is not.
pub fn check_counted(work: &TableWork) -> Result<(), Failure> {
    match work.table_type {
        TableType::CopyOnWrite => Ok(()),
        TableType::MergeOnRead => Err(Failure::new(
            "TableTypeUnsupported",
            format!(
                "`{}` is a table whose rows the worker cannot count: MERGE_ON_READ",
                work.target_table
            ),
        )
        .hint("set `hudi_config.table_type` to COPY_ON_WRITE, or remove it")),
    }
}

/// A partition is a folder of its value's name: some values are no name of a folder.
pub fn check_partitions(work: &TableWork, rows: &RecordBatch) -> Result<(), Failure> {
    let Partitioning::By(columns) = &work.partitioning else {
        return Ok(());
    };
    for name in columns {
        let Some(values) = rows
            .column_by_name(name)
            .and_then(|column| column.as_string_opt::<i32>())
        else {
            continue;
        };
        let bad = values.iter().flatten().find(|value| {
            matches!(*value, "." | "..")
                || value.contains(['/', '\\', '%', '='])
                || value.contains(char::is_control)
        });
        if let Some(value) = bad {
            return Err(unsupported(
                "PartitionValueUnsupported",
                format!(
                    "partition column `{name}` of `{}` has a value that is no name of a folder: `{value}`",
                    work.source
                ),
            ));
        }
    }
    Ok(())
}

fn legal(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn typed(
    work: &TableWork,
    schema: &Schema,
    name: &str,
    role: &str,
    holds: impl Fn(&DataType) -> bool,
) -> Result<(), Failure> {
    match schema.field_with_name(name) {
        Ok(field) if holds(field.data_type()) => Ok(()),
        Ok(field) => Err(unsupported(
            "KeyTypeUnsupported",
            format!(
                "{role} `{name}` of `{}` has a type that the native engine cannot use there: {}",
                work.source,
                field.data_type()
            ),
        )),
        Err(_) => Err(Failure::new(
            "KeyColumnMissing",
            format!("`{}` has no column `{name}`, its {role}", work.source),
        )
        .hint("correct `hudi_config` of this table")),
    }
}

fn unsupported(error: &'static str, message: String) -> Failure {
    Failure::new(error, message).hint("use `\"engine\": \"spark\"` for this table")
}

impl KeyColumns {
    pub fn of(work: &TableWork) -> Self {
        Self {
            names: work.primary_key.clone(),
            table: work.source.to_string(),
        }
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The keys of a batch that has the key columns.
    pub fn keys(&self, batch: &RecordBatch) -> Result<Keys<'_>, Failure> {
        let columns = self
            .names
            .iter()
            .map(|name| {
                let column = batch.column_by_name(name).ok_or_else(|| {
                    Failure::new(
                        "KeyColumnMissing",
                        format!("`{}` has no column `{name}`, its key column", self.table),
                    )
                    .hint("correct `hudi_config` of this table")
                })?;
                let text = cast(column, &DataType::Utf8).map_err(|error| {
                    Failure::new(
                        "KeyTypeUnsupported",
                        format!(
                            "key column `{name}` of `{}` is no text: {error}",
                            self.table
                        ),
                    )
                    .hint("use `\"engine\": \"spark\"` for this table")
                })?;
                Ok(text.as_string::<i32>().clone())
            })
            .collect::<Result<_, Failure>>()?;
        Ok(Keys { of: self, columns })
    }
}

/// The keys of one batch.
pub struct Keys<'a> {
    of: &'a KeyColumns,
    columns: Vec<StringArray>,
}

impl Keys<'_> {
    /// Replaces `key` by the key of a row: the value itself, or `a:1,b:x` of several columns.
    pub fn write(&self, row: usize, key: &mut String) -> Result<(), Failure> {
        key.clear();
        let single = self.columns.len() == 1;
        for (at, (name, column)) in self.of.names.iter().zip(&self.columns).enumerate() {
            if column.is_null(row) {
                return Err(self.unusable("NullKey", name, "is NULL in a row"));
            }
            let value = column.value(row);
            if single {
                if value.is_empty() {
                    return Err(self.unusable("EmptyKey", name, "is empty in a row"));
                }
                key.push_str(value);
                return Ok(());
            }
            if at > 0 {
                key.push(',');
            }
            key.push_str(name);
            key.push(':');
            self.unambiguous(at, value)?;
            key.push_str(if value.is_empty() { EMPTY } else { value });
        }
        Ok(())
    }

    /// Hudi joins the parts of a key without escaping them: two keys must not become one.
    fn unambiguous(&self, at: usize, value: &str) -> Result<(), Failure> {
        let next = self.of.names.get(at + 1);
        let looks_like_two = next.is_some_and(|next| {
            value.match_indices(',').any(|(comma, _)| {
                value[comma + 1..]
                    .strip_prefix(next.as_str())
                    .is_some_and(|rest| rest.starts_with(':'))
            })
        });
        if looks_like_two || value == EMPTY || value == NULL {
            let name = &self.of.names[at];
            return Err(self.unusable(
                "KeyAmbiguous",
                name,
                &format!("has a value that Hudi takes for something else: `{value}`"),
            ));
        }
        Ok(())
    }

    fn unusable(&self, error: &'static str, column: &str, predicate: &str) -> Failure {
        Failure::new(
            error,
            format!("key column `{column}` of `{}` {predicate}", self.of.table),
        )
        .hint("choose other columns in `hudi_config.primary_key`, or correct the row in the source")
    }
}
