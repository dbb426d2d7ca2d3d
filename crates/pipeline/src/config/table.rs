//! `step::system::<schema>.<table>`: one table, shared by the four system pipelines.

use super::pipeline::ENGINES;
use super::safety::{self, OptOuts};
use crate::key::SYSTEM_PIPELINES;
use crate::plan::{Engine, Partitioning, TableType, WriteOperation};
use crate::problem::{Found, Problem};
use crate::value::{Fields, texts_of};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableStep {
    pub enabled: bool,
    /// `None`: the table can only be loaded.
    pub hudi: Option<HudiConfig>,
    pub override_target_table_name: Option<String>,
    pub spark_jdbc_config: BTreeMap<String, String>,
    /// Settings by pipeline.
    pub spark_conf: BTreeMap<String, BTreeMap<String, String>>,
    pub engine: Option<Engine>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HudiConfig {
    pub primary_key: Vec<String>,
    pub partitioning: Partitioning,
    pub partition_extractor_class: Option<String>,
    pub table_type: TableType,
    pub operation: WriteOperation,
    pub transformer: Option<Transformer>,
}

/// A transformation by the streamer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transformer {
    pub class: String,
    pub sql: Option<String>,
}

/// Attributes of the item.
pub const KNOWN: &[&str] = &[
    "identifier",
    "config",
    "enabled",
    "hudi_config",
    "override_target_table_name",
    "spark_jdbc_config",
    "spark_conf",
    "engine",
];
/// Attributes of `hudi_config`.
pub const KNOWN_HUDI: &[&str] = &[
    "primary_key",
    "watermark",
    "is_partitioned",
    "partition_path",
    "partition_extractor_class",
    "table_type",
    "op",
    "transformer_class",
    "transformer_sql",
];

/// The column by which all changes are ordered.
pub const ORDERING_COLUMN: &str = "trx_seq";
/// Columns that the lake adds; a key or partition of them makes no sense.
const LAKE_COLUMNS: [&str; 3] = ["Op", ORDERING_COLUMN, "_hoodie_is_deleted"];
const SQL_TRANSFORMER: &str = "SqlQueryBasedTransformer";

/// `None` when `enabled` cannot be told; else the step, as far as it is right.
pub fn parse(
    key: &str,
    map: &Map<String, Value>,
    opt_outs: &OptOuts,
    problems: &mut Vec<Problem>,
) -> Option<TableStep> {
    let fields = Fields::open(key, "", map, KNOWN, problems);
    fields.require("enabled", "`true` or `false`", problems);
    let enabled = fields.boolean("enabled", problems);
    let hudi = fields
        .object("hudi_config", KNOWN_HUDI, problems)
        .and_then(|fields| hudi(&fields, problems));
    let jdbc = fields.texts_by_name("spark_jdbc_config", problems);
    safety::check_jdbc(key, &jdbc, problems);
    let override_target_table_name = target_name(&fields, problems);
    let spark_conf = spark_conf(&fields, opt_outs, problems);
    let engine = fields.choice("engine", &ENGINES, problems);
    Some(TableStep {
        enabled: enabled?,
        hudi,
        override_target_table_name,
        spark_jdbc_config: jdbc,
        spark_conf,
        engine,
    })
}

fn target_name(fields: &Fields, problems: &mut Vec<Problem>) -> Option<String> {
    let name = fields.name("override_target_table_name", problems)?;
    if name.contains('/') {
        let found = Value::String(name);
        problems.push(fields.wrong("override_target_table_name", &found, "a name without `/`"));
        return None;
    }
    Some(name)
}

fn hudi(fields: &Fields, problems: &mut Vec<Problem>) -> Option<HudiConfig> {
    let primary_key = primary_key(fields, problems);
    watermark(fields, problems);
    let partitioning = partitioning(fields, problems);
    let table_types = [
        ("COPY_ON_WRITE", TableType::CopyOnWrite),
        ("MERGE_ON_READ", TableType::MergeOnRead),
    ];
    let operations = [
        ("UPSERT", WriteOperation::Upsert),
        ("INSERT", WriteOperation::Insert),
        ("BULK_INSERT", WriteOperation::BulkInsert),
    ];
    let table_type = fields.choice("table_type", &table_types, problems);
    let operation = fields.choice("op", &operations, problems);
    let extractor = class(fields, "partition_extractor_class", problems);
    let transformer = transformer(fields, problems);
    Some(HudiConfig {
        primary_key: primary_key?,
        partitioning: partitioning?,
        partition_extractor_class: extractor,
        table_type: table_type.unwrap_or(TableType::CopyOnWrite),
        operation: operation.unwrap_or(WriteOperation::Upsert),
        transformer,
    })
}

fn primary_key(fields: &Fields, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
    let hint = "name at least one column";
    let path = fields.path("primary_key");
    match fields.raw("primary_key") {
        None => {
            problems.push(
                fields
                    .missing("primary_key", "columns, separated by commas")
                    .hint(hint),
            );
            return None;
        }
        Some(Value::String(text)) if text.trim().is_empty() => {
            problems.push(Problem::new(fields.key, path, Found::Empty, "").hint(hint));
            return None;
        }
        Some(_) => {}
    }
    let text = fields.text("primary_key", problems)?;
    let columns: Vec<String> = text.split(',').map(|part| part.trim().to_owned()).collect();
    let fault = if columns.iter().any(String::is_empty) {
        "has an empty column name"
    } else if columns
        .iter()
        .any(|column| LAKE_COLUMNS.contains(&column.as_str()))
    {
        "names a column that the lake adds"
    } else if columns.iter().any(|column| column.starts_with('-')) {
        "has a column that begins with `-`"
    } else if (1..columns.len()).any(|n| columns[..n].contains(&columns[n])) {
        "names a column twice"
    } else {
        return Some(columns);
    };
    problems.push(
        Problem::fault(fields.key, path, format!("{fault}: {text}"))
            .hint("columns of the source table, separated by commas"),
    );
    None
}

fn watermark(fields: &Fields, problems: &mut Vec<Problem>) {
    let hint = "changes are ordered by `trx_seq`, the number that capture gives them; no column of the source orders deletes";
    match fields.raw("watermark") {
        Some(Value::String(text)) if text == ORDERING_COLUMN => {}
        None => problems.push(fields.missing("watermark", "`trx_seq`").hint(hint)),
        Some(value) => problems.push(fields.wrong("watermark", value, "`trx_seq`").hint(hint)),
    }
}

fn partitioning(fields: &Fields, problems: &mut Vec<Problem>) -> Option<Partitioning> {
    fields.require("is_partitioned", "`true` or `false`", problems);
    let partitioned = fields.boolean("is_partitioned", problems)?;
    let column = fields.name("partition_path", problems);
    match (partitioned, fields.has("partition_path")) {
        (false, false) => Some(Partitioning::None),
        (true, false) => {
            problems.push(
                fields
                    .missing(
                        "partition_path",
                        "a column, because `is_partitioned` is true",
                    )
                    .hint("name the column, or set `is_partitioned` to false"),
            );
            None
        }
        (false, true) => {
            problems.push(
                Problem::fault(
                    fields.key,
                    fields.path("partition_path"),
                    "is given, but `is_partitioned` is false",
                )
                .hint("remove it, or set `is_partitioned` to true"),
            );
            None
        }
        (true, true) => partition_columns(fields, &column?, problems),
    }
}

fn partition_columns(
    fields: &Fields,
    text: &str,
    problems: &mut Vec<Problem>,
) -> Option<Partitioning> {
    let columns: Vec<String> = text.split(',').map(|part| part.trim().to_owned()).collect();
    let bad = |column: &String| {
        column.is_empty() || LAKE_COLUMNS.contains(&column.as_str()) || column.contains(':')
    };
    if columns.iter().any(bad) {
        let found = Value::String(text.to_owned());
        problems.push(fields.wrong("partition_path", &found, "a column of the source table"));
        return None;
    }
    Some(Partitioning::By(columns))
}

fn class(fields: &Fields, name: &str, problems: &mut Vec<Problem>) -> Option<String> {
    let class = fields.name(name, problems)?;
    let fine = |c: char| c.is_ascii_alphanumeric() || "._$".contains(c);
    if !class.chars().all(fine) {
        let found = Value::String(class);
        problems.push(fields.wrong(name, &found, "the full name of one class"));
        return None;
    }
    Some(class)
}

fn transformer(fields: &Fields, problems: &mut Vec<Problem>) -> Option<Transformer> {
    let class = class(fields, "transformer_class", problems);
    let sql = fields.text("transformer_sql", problems);
    let is_sql = class
        .as_deref()
        .is_some_and(|class| class.rsplit('.').next() == Some(SQL_TRANSFORMER));
    if is_sql && !fields.has("transformer_sql") {
        problems.push(
            fields
                .missing(
                    "transformer_sql",
                    "a query, because the transformer runs SQL",
                )
                .hint("for example `SELECT * FROM <SRC>`"),
        );
    }
    if !fields.has("transformer_class") && fields.has("transformer_sql") {
        problems.push(
            fields
                .missing(
                    "transformer_class",
                    "a class, because `transformer_sql` is given",
                )
                .hint("for example `org.apache.hudi.utilities.transform.SqlQueryBasedTransformer`"),
        );
    }
    Some(Transformer { class: class?, sql })
}

fn spark_conf(
    fields: &Fields,
    opt_outs: &OptOuts,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let names: Vec<&str> = SYSTEM_PIPELINES.iter().map(|name| name.as_str()).collect();
    let Some(by_pipeline) = fields.object("spark_conf", &names, problems) else {
        return BTreeMap::new();
    };
    names
        .into_iter()
        .filter_map(|pipeline| {
            let map = by_pipeline.map_of(pipeline, problems)?;
            let prefix = format!("spark_conf.{pipeline}.");
            let conf = texts_of(fields.key, &prefix, map, problems);
            safety::check_spark_conf(fields.key, &prefix, &conf, opt_outs, problems);
            Some((pipeline.to_owned(), conf))
        })
        .collect()
}
