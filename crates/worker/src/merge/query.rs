//! The query by which Spark reads a batch of change files: the newest change of each key, as columns of the table. Pure.
//!
//! The streamer cuts its file at each semicolon and reads it in the JVM's character set, so text is written in ASCII, without them.

use crate::failure::Failure;
use crate::silver::Floors;
use crate::types::{IS_DELETED, OP, TRX_SEQ};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use pipeline::plan::TableWork;
use std::collections::BTreeMap;

/// Columns of the query's own.
const NTH: &str = "_headwater_nth";
const STORED: &str = "_headwater_stored";
const VIEW: &str = "headwater_changes";
const STORED_VIEW: &str = "headwater_stored";

/// What a query is made of.
pub struct Query<'a> {
    pub work: &'a TableWork,
    /// The table's own columns.
    pub table: &'a Schema,
    /// Below the table's folder of change files.
    pub files: &'a [String],
    /// The columns of each of them.
    pub columns: &'a [SchemaRef],
    pub floors: &'a Floors,
    /// URI of the table where the floors do not tell what is older than a stored row.
    pub stored: Option<String>,
}

impl Query<'_> {
    /// The statements, each ended by a semicolon; the last one is the query.
    pub fn text(&self) -> Result<String, Failure> {
        let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        let added = self.added()?;
        for (file, columns) in self.files.iter().zip(self.columns) {
            let selected = self.selected(file, columns, &added)?;
            groups.entry(selected).or_default().push(file);
        }
        let mut views = Vec::new();
        let mut selects = Vec::new();
        for (number, (selected, files)) in groups.into_iter().enumerate() {
            let path = self.path(&files);
            views.push(format!(
                "CREATE OR REPLACE TEMPORARY VIEW {VIEW}_{number} USING parquet OPTIONS (path {});\n",
                literal(&path)
            ));
            selects.push(format!("  SELECT {selected}\n  FROM {VIEW}_{number}"));
        }
        if let Some(uri) = &self.stored {
            views.push(format!(
                "CREATE OR REPLACE TEMPORARY VIEW {STORED_VIEW} USING hudi OPTIONS (path {});\n",
                literal(uri)
            ));
        }
        let names: Vec<String> = self
            .table
            .fields()
            .iter()
            .map(|field| field.name())
            .chain(added.keys())
            .map(|name| quoted(name))
            .collect();
        Ok(views.concat() + &self.newest(&names, &selects.join("\n  UNION ALL\n")))
    }

    /// Of all changes that are not in the table yet, the newest of each key.
    fn newest(&self, names: &[String], changes: &str) -> String {
        let keys: Vec<String> = self
            .work
            .primary_key
            .iter()
            .map(|key| quoted(key))
            .collect();
        let seq = quoted(TRX_SEQ);
        let mut floors = vec![format!("{seq} >= {}", literal(self.floors.t0.as_str()))];
        if let Some(applied) = &self.floors.applied {
            floors.push(format!("{seq} > {}", literal(applied.as_str())));
        }
        let newest = format!(
            "SELECT {names} FROM (\n SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY {seq} DESC) AS {NTH} FROM (\n{changes}\n ) WHERE {floors}\n) WHERE {NTH} = 1",
            names = names.join(", "),
            keys = keys.join(", "),
            floors = floors.join(" AND "),
        );
        if self.stored.is_none() {
            return newest + "\n";
        }
        let same: Vec<String> = keys
            .iter()
            .map(|key| format!("newest.{key} = stored.{key}"))
            .collect();
        let columns: Vec<String> = names.iter().map(|name| format!("newest.{name}")).collect();
        format!(
            "SELECT {columns} FROM (\n{newest}\n) AS newest LEFT JOIN (SELECT {keys}, {seq} AS {STORED} FROM {STORED_VIEW}) AS stored ON {same}\nWHERE stored.{STORED} IS NULL OR stored.{STORED} <= newest.{seq}\n",
            columns = columns.join(", "),
            keys = keys.join(", "),
            same = same.join(" AND "),
        )
    }

    /// Columns that changes have and the table lacks, which Spark adds to it.
    fn added(&self) -> Result<BTreeMap<String, DataType>, Failure> {
        let mut added: BTreeMap<String, DataType> = BTreeMap::new();
        for columns in self.columns {
            for field in columns.fields() {
                let name = field.name();
                if self.table.field_with_name(name).is_ok() {
                    continue;
                }
                let known = added
                    .entry(name.clone())
                    .or_insert_with(|| field.data_type().clone());
                if known != field.data_type() {
                    return Err(self.changed(name, field.data_type(), known));
                }
            }
        }
        Ok(added)
    }

    /// The columns of the table out of those of a file.
    fn selected(
        &self,
        file: &str,
        columns: &Schema,
        added: &BTreeMap<String, DataType>,
    ) -> Result<String, Failure> {
        let own = self.table.fields().iter();
        let own = own.map(|field| (field.name(), field.data_type()));
        let mut selected = Vec::new();
        for (name, to) in own.chain(added.iter()) {
            let from = columns.field_with_name(name).map(|field| field.data_type());
            let value = match (name.as_str(), from) {
                (IS_DELETED, Ok(DataType::Boolean)) => {
                    format!("coalesce({IS_DELETED}, false) OR {} = 'D'", quoted(OP))
                }
                (IS_DELETED, _) => format!("{} = 'D'", quoted(OP)),
                (_, Ok(from)) => {
                    let value = self.converted(name, from, to);
                    value.ok_or_else(|| self.changed(name, from, to))?
                }
                (_, Err(_)) => {
                    let kind = spark_type(to).ok_or_else(|| self.changed(file, to, to))?;
                    format!("CAST(NULL AS {kind})")
                }
            };
            selected.push(format!("{value} AS {}", quoted(name)));
        }
        Ok(selected.join(", "))
    }

    /// A value of a file as one of the table, where each of the one is surely one of the other.
    fn converted(&self, name: &str, from: &DataType, to: &DataType) -> Option<String> {
        use DataType::{
            Binary, Boolean, Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64,
            LargeBinary, LargeUtf8, Timestamp, Utf8,
        };
        let column = quoted(name);
        let cast = || Some(format!("CAST({column} AS {})", spark_type(to)?));
        match (from, to) {
            (from, to) if from == to => Some(column),
            // To Spark these are the same.
            (LargeUtf8, Utf8) | (LargeBinary, Binary) => Some(column),
            (
                Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond, _),
                Timestamp(TimeUnit::Microsecond, _),
            ) => Some(column),
            (Utf8 | LargeUtf8, Boolean) => Some(self.boolean(name, &column)),
            (Int8 | Int16, Int32 | Int64) | (Int32, Int64) | (Float32, Float64) => cast(),
            (Decimal128(digits, scale), Decimal128(wider, finer))
                if finer >= scale
                    && i16::from(*wider) - i16::from(*finer)
                        >= i16::from(*digits) - i16::from(*scale) =>
            {
                cast()
            }
            (Date32, Date32) => Some(column),
            (Float64 | Int64 | Int32, _) => None,
            _ => None,
        }
    }

    /// AWS DMS writes booleans as text, unless it is told otherwise.
    fn boolean(&self, name: &str, column: &str) -> String {
        let wrong = literal(&format!(
            "column {name} of {} is no boolean",
            self.work.source
        ));
        format!(
            "CASE WHEN {column} IN ('true', 't') THEN true WHEN {column} IN ('false', 'f') THEN false WHEN {column} IS NULL THEN CAST(NULL AS BOOLEAN) ELSE CAST(raise_error({wrong}) AS BOOLEAN) END"
        )
    }

    fn changed(&self, name: &str, from: &DataType, to: &DataType) -> Failure {
        Failure::new(
            "ColumnTypeChanged",
            format!(
                "column `{name}` of `{}` came as {from}, which does not fit the table's {to}",
                self.work.source
            ),
        )
        .hint(self.work.reload())
    }

    /// One path of all these files, as Hadoop expands it.
    fn path(&self, files: &[&str]) -> String {
        let folder = plain(&self.work.changes);
        let names: Vec<String> = files.iter().map(|file| plain(file)).collect();
        match names.as_slice() {
            [name] => format!("{folder}/{name}"),
            names => format!("{folder}/{{{}}}", names.join(",")),
        }
    }
}

/// A path in which nothing is a pattern.
fn plain(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if "{}[]*?\\,".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text in Spark SQL, in ASCII and without semicolons.
fn literal(text: &str) -> String {
    let mut out = String::from("'");
    let mut units = [0; 2];
    for c in text.chars() {
        match c {
            '\'' | '\\' => out.extend(['\\', c]),
            ' '..='~' if c != ';' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
        }
    }
    out.push('\'');
    out
}

fn spark_type(kind: &DataType) -> Option<String> {
    Some(match kind {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond, _) => {
            "TIMESTAMP".to_owned()
        }
        DataType::Binary | DataType::LargeBinary => "BINARY".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 => "STRING".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::silver::testbed::{Lake, batch, seq};
    use arrow::datatypes::Field;
    use std::sync::Arc;

    fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
        let fields = fields
            .iter()
            .map(|(name, kind)| Field::new(*name, kind.clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    fn text(
        files: &[(&str, SchemaRef)],
        applied: Option<u64>,
        stored: Option<&str>,
    ) -> Result<String, Failure> {
        let mut lake = Lake::new();
        lake.work.changes = "s3://bronze/shop/incremental/o'db; ü/public/a,b".to_owned();
        let (names, columns): (Vec<String>, Vec<SchemaRef>) = files
            .iter()
            .map(|(name, columns)| ((*name).to_owned(), columns.clone()))
            .unzip();
        Query {
            work: &lake.work,
            table: &batch(&[]).schema(),
            files: &names,
            columns: &columns,
            floors: &Floors {
                t0: seq(1),
                applied: applied.map(seq),
            },
            stored: stored.map(str::to_owned),
        }
        .text()
    }

    fn plain_file() -> SchemaRef {
        batch(&[]).schema()
    }

    #[test]
    fn files_of_the_same_columns_are_read_together_and_each_key_comes_once() {
        let files = [
            ("20271124/1.parquet", plain_file()),
            ("20271124/2.parquet", plain_file()),
        ];
        let expected = r"CREATE OR REPLACE TEMPORARY VIEW headwater_changes_0 USING parquet OPTIONS (path 's3://bronze/shop/incremental/o\'db\u003B \u00FC/public/a\\,b/{20271124/1.parquet,20271124/2.parquet}');
SELECT `Op`, `id`, `city`, `v`, `trx_seq`, `_hoodie_is_deleted` FROM (
 SELECT *, row_number() OVER (PARTITION BY `id` ORDER BY `trx_seq` DESC) AS _headwater_nth FROM (
  SELECT `Op` AS `Op`, `id` AS `id`, `city` AS `city`, `v` AS `v`, `trx_seq` AS `trx_seq`, coalesce(_hoodie_is_deleted, false) OR `Op` = 'D' AS `_hoodie_is_deleted`
  FROM headwater_changes_0
 ) WHERE `trx_seq` >= '20251124160000000000000000000000001' AND `trx_seq` > '20251124160000000000000000000000007'
) WHERE _headwater_nth = 1
";
        assert_eq!(text(&files, Some(7), None).expect("a query"), expected);
    }

    #[test]
    fn columns_are_brought_to_the_tables_or_added_to_it() {
        use DataType::{Int16, Utf8};
        let files = [
            (
                "1.parquet",
                schema(&[("Op", Utf8), ("id", Int16), ("trx_seq", Utf8)]),
            ),
            (
                "2.parquet",
                schema(&[
                    ("Op", Utf8),
                    ("id", DataType::Int32),
                    ("new", DataType::Date32),
                    ("trx_seq", Utf8),
                ]),
            ),
        ];
        let query = text(&files, None, None).expect("a query");
        for part in [
            "CAST(`id` AS INT) AS `id`, CAST(NULL AS STRING) AS `city`",
            "CAST(NULL AS DATE) AS `new`",
            "`new` AS `new`",
            "UNION ALL",
            "`Op` = 'D' AS `_hoodie_is_deleted`",
            "SELECT `Op`, `id`, `city`, `v`, `trx_seq`, `_hoodie_is_deleted`, `new` FROM",
        ] {
            assert!(query.contains(part), "{part}: {query}");
        }
        for wrong in [DataType::Int64, DataType::Float64, DataType::Utf8] {
            let columns = schema(&[("Op", Utf8), ("id", wrong), ("trx_seq", Utf8)]);
            let failure = text(&[("1.parquet", columns)], None, None);
            assert_eq!(failure.expect_err("refused").error, "ColumnTypeChanged");
        }
    }

    #[test]
    fn where_floors_do_not_tell_what_is_old_the_stored_rows_do() {
        let files = [("1.parquet", plain_file())];
        let query = text(&files, None, Some("s3://silver/t/g=1")).expect("a query");
        assert!(
            query.contains("VIEW headwater_stored USING hudi OPTIONS (path 's3://silver/t/g=1');")
        );
        assert!(query.ends_with(
            ") AS newest LEFT JOIN (SELECT `id`, `trx_seq` AS _headwater_stored FROM headwater_stored) AS stored ON newest.`id` = stored.`id`\nWHERE stored._headwater_stored IS NULL OR stored._headwater_stored <= newest.`trx_seq`\n"
        ), "{query}");
    }
}
