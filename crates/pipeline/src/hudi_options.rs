//! Options of a Hudi table that both engines must agree on, for Hudi 1.0.2 and table version 8.

use crate::config::table::{HudiConfig, ORDERING_COLUMN};
use crate::plan::{Partitioning, TableType};
use std::collections::BTreeMap;

/// The table version that Hudi 1.0.2 writes and the native library reads.
pub const TABLE_VERSION: &str = "8";

/// The table's own options, as `hoodie.properties` has them.
pub fn table(target: &str, hudi: &HudiConfig) -> BTreeMap<String, String> {
    let mut options: BTreeMap<String, String> = [
        ("hoodie.table.name", target),
        ("hoodie.table.type", table_type(hudi.table_type)),
        ("hoodie.table.version", TABLE_VERSION),
        ("hoodie.table.precombine.field", ORDERING_COLUMN),
        ("hoodie.record.merge.mode", "EVENT_TIME_ORDERING"),
        ("hoodie.table.timeline.timezone", "UTC"),
        ("hoodie.table.base.file.format", "PARQUET"),
        ("hoodie.datasource.write.hive_style_partitioning", "true"),
        ("hoodie.datasource.write.drop.partition.columns", "false"),
        ("hoodie.metadata.enable", "false"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    let mut set = |name: &str, value: String| options.insert(name.to_owned(), value);
    set("hoodie.table.recordkey.fields", hudi.primary_key.join(","));
    set(
        "hoodie.table.keygenerator.class",
        key_generator(hudi).to_owned(),
    );
    if let Partitioning::By(columns) = &hudi.partitioning {
        set("hoodie.table.partition.fields", columns.join(","));
    }
    options
}

pub fn table_type(table_type: TableType) -> &'static str {
    match table_type {
        TableType::CopyOnWrite => "COPY_ON_WRITE",
        TableType::MergeOnRead => "MERGE_ON_READ",
    }
}

/// The class that makes a record's key and partition out of its columns.
pub fn key_generator(hudi: &HudiConfig) -> &'static str {
    match (&hudi.partitioning, hudi.primary_key.len()) {
        (Partitioning::None, _) => "org.apache.hudi.keygen.NonpartitionedKeyGenerator",
        (Partitioning::By(columns), 1) if columns.len() == 1 => {
            "org.apache.hudi.keygen.SimpleKeyGenerator"
        }
        (Partitioning::By(_), _) => "org.apache.hudi.keygen.ComplexKeyGenerator",
    }
}
