//! What Spark is told to read, so that its values are those of the native load: SQL that gives each column in a form that JDBC carries
//! exactly.

mod from;

pub use from::From;

use super::slices;
use crate::source::{Column, Reach, Table, quoted};
use crate::types::{ArrayForm, Carried, ElementForm, TypeFacts, TypeKind};
use pipeline::plan::JdbcLoad;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Options of Spark's JDBC source that are its own to know.
const PASSED: [&str; 10] = [
    "fetchsize",
    "querytimeout",
    "preparequery",
    "customschema",
    "pushdownpredicate",
    "pushdownaggregate",
    "pushdownlimit",
    "pushdownoffset",
    "pushdowntablesample",
    "prefertimestampntz",
];
/// A read that divides itself by a column, where the worker cannot divide it.
const BOUNDS: [&str; 3] = ["partitioncolumn", "lowerbound", "upperbound"];
/// The column of a read by which Spark divides it.
const DIVIDING: &str = "headwater dividing column";

/// What `jdbc_load.py` reads, as JSON.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// SQL after FROM.
    pub relation: String,
    /// SQL that every connection begins with.
    pub session: String,
    pub options: BTreeMap<String, String>,
    /// Conditions of the pieces; none where Spark divides the read itself, or nobody.
    pub predicates: Vec<String>,
    pub columns: Vec<Read>,
}

/// A column as the relation gives it, and what it becomes.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Read {
    pub name: String,
    /// Its name in the relation.
    pub from: String,
    #[serde(rename = "as")]
    pub becomes: Becomes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Becomes {
    /// What Spark reads.
    Itself,
    /// Of days since 1970.
    Date,
    /// Of microseconds since 1970, without a zone.
    Timestamp,
    /// Of microseconds since 1970, in UTC.
    TimestampUtc,
}

/// Everything that Spark needs to know to read one snapshot of a table.
pub fn reading(
    load: &JdbcLoad,
    table: &Table,
    carried: &[Carried],
    snapshot: &str,
    session: &str,
) -> Reading {
    let own = own_types(load);
    let mut selected = Vec::new();
    let mut columns = Vec::new();
    for (column, carried) in table.columns.iter().zip(carried) {
        let name = quoted(&column.name);
        let (sql, becomes) = match own.contains(&column.name) {
            true => (name.clone(), Becomes::Itself),
            false => expression(&name, carried, &column.facts),
        };
        let from = from_name(&column.name, columns.len());
        selected.push(format!("{sql} AS {}", quoted(&from)));
        columns.push(Read {
            name: column.name.clone(),
            from,
            becomes,
        });
    }
    let predicates = predicates(load, table);
    let mut options = chosen(load, &PASSED);
    if !predicates.is_empty() {
        selected.push("ctid".to_owned());
    } else if let Some(by) = load.options.get(BOUNDS[0]) {
        selected.push(format!("{} AS {}", quoted(by), quoted(DIVIDING)));
        options.extend(chosen(load, &BOUNDS));
        options.insert(BOUNDS[0].to_owned(), DIVIDING.to_owned());
        options.insert(
            "numpartitions".to_owned(),
            load.load.parallelism.to_string(),
        );
    }
    let inner = From::of(load).relation();
    Reading {
        relation: format!("(SELECT {} FROM {inner}) AS loaded", selected.join(", ")),
        session: session_of(load, snapshot, session),
        options,
        predicates,
        columns,
    }
}

/// Spark puts a name between quotes as it is.
fn from_name(name: &str, place: usize) -> String {
    match name.contains('"') {
        true => format!("headwater column {place}"),
        false => name.to_owned(),
    }
}

fn chosen(load: &JdbcLoad, names: &[&str]) -> BTreeMap<String, String> {
    let options = load.options.iter();
    options
        .filter(|(name, _)| names.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The snapshot first: it must come before any query of the transaction.
fn session_of(load: &JdbcLoad, snapshot: &str, session: &str) -> String {
    let mut statements = format!(
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT '{}'; {session}",
        snapshot.replace('\'', "''")
    );
    if load.relation.is_some() {
        // It is written for the role's own.
        statements.push_str("; RESET search_path");
    }
    if let Some(own) = load.options.get("sessioninitstatement") {
        statements.push_str("; ");
        statements.push_str(own);
    }
    statements
}

/// Pieces by row address, one for each connection that is wanted.
fn predicates(load: &JdbcLoad, table: &Table) -> Vec<String> {
    let Reach::Pages(parts) = &table.reach else {
        return Vec::new();
    };
    let pages: Option<Vec<u64>> = parts.iter().map(|part| part.pages).collect();
    // Each piece is cut out of all partitions at once.
    let Some(pages) = pages.and_then(|pages| pages.into_iter().max()) else {
        return Vec::new();
    };
    let most = pages / slices::SLICE_PAGES_MIN;
    let count = u64::from(load.load.parallelism).min(most).max(1);
    (0..count)
        .map(|number| {
            let (first, after) = (pages * number / count, pages * (number + 1) / count);
            match (number, number + 1 == count) {
                (0, true) => "true".to_owned(),
                (0, false) => format!("ctid < '({after},0)'"),
                (_, true) => format!("ctid >= '({first},0)'"),
                (_, false) => format!("ctid >= '({first},0)' AND ctid < '({after},0)'"),
            }
        })
        .collect()
}

/// Columns whose type the item chooses by `customSchema`.
pub fn own_types(load: &JdbcLoad) -> BTreeSet<String> {
    let text = load.options.get("customschema").map_or("", String::as_str);
    let mut names = BTreeSet::new();
    let (mut depth, mut begin) = (0_usize, 0);
    for (at, byte) in text.bytes().chain([b',']).enumerate() {
        match byte {
            b'(' | b'<' => depth += 1,
            b')' | b'>' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                names.extend(own_name(&text[begin..at]));
                begin = at + 1;
            }
            _ => {}
        }
    }
    names
}

/// The name of `name TYPE`, `name: TYPE`, or with the name between backticks.
fn own_name(column: &str) -> Option<String> {
    let column = column.trim();
    if let Some(rest) = column.strip_prefix('`') {
        let end = rest.rfind('`')?;
        return Some(rest[..end].replace("``", "`"));
    }
    let name = column.split([' ', ':']).next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// SQL that gives a column so that Spark reads what the native engine would write.
fn expression(column: &str, carried: &Carried, facts: &TypeFacts) -> (String, Becomes) {
    match carried {
        Carried::Boolean => (format!("{column}::bool"), Becomes::Itself),
        Carried::Int32 => (format!("{column}::int4"), Becomes::Itself),
        Carried::Int64 => (format!("{column}::int8"), Becomes::Itself),
        Carried::Float32 => (format!("{column}::float4"), Becomes::Itself),
        Carried::Float64 => (format!("{column}::float8"), Becomes::Itself),
        Carried::Binary => (format!("{column}::bytea"), Becomes::Itself),
        Carried::Decimal { precision, scale } => {
            let kind = format!("numeric({precision},{scale})");
            let sql = format!(
                "(CASE WHEN NOT {} THEN {column} END)::{kind}",
                unheld_numeric(column)
            );
            (sql, Becomes::Itself)
        }
        Carried::Date => {
            let days = format!("{column}::date - DATE '1970-01-01'");
            (finite(column, "date", &days), Becomes::Date)
        }
        Carried::Timestamp => {
            let sql = finite(column, "timestamp", &microseconds(column, "timestamp"));
            (sql, Becomes::Timestamp)
        }
        Carried::TimestampUtc => {
            let sql = finite(column, "timestamptz", &microseconds(column, "timestamptz"));
            (sql, Becomes::TimestampUtc)
        }
        Carried::Text(_) => (printed(column, facts), Becomes::Itself),
        Carried::Array(form) => (array(column, *form, facts), Becomes::Itself),
    }
}

fn unheld_numeric(column: &str) -> String {
    format!("({column}::numeric IN ('NaN', 'Infinity', '-Infinity'))")
}

fn finite(column: &str, kind: &str, value: &str) -> String {
    format!("CASE WHEN isfinite({column}::{kind}) THEN {value} END")
}

/// Exact: `extract` gives a numeric.
fn microseconds(column: &str, kind: &str) -> String {
    format!("(extract(epoch FROM {column}::{kind}) * 1000000)::int8")
}

fn printed(column: &str, facts: &TypeFacts) -> String {
    // Its output function is that of text, which takes no other type.
    if facts.name == "refcursor" {
        return format!("{column}::text");
    }
    format!("pg_catalog.textin({}({column}))", facts.output)
}

/// The JSON text of an array, by the server. It writes two control characters shorter than the native engine.
fn array(column: &str, form: ArrayForm, facts: &TypeFacts) -> String {
    let element = match &facts.kind {
        TypeKind::Array { element, .. } => element.name.as_str(),
        _ => "",
    };
    let elements = match form.element {
        // To JSON a number of an object is a text.
        ElementForm::Number if element == "oid" => format!("{column}::int8[]"),
        ElementForm::Number | ElementForm::Boolean | ElementForm::Json => column.to_owned(),
        ElementForm::String if form.delimiter == ',' => {
            format!("{}::text[]", printed(column, facts))
        }
        ElementForm::String => format!("{column}::text[]"),
    };
    let json = format!("array_to_json({elements})::text");
    match form.element {
        ElementForm::String => {
            let longer = |json: &str, short: char, code: &str| {
                format!(
                    r"regexp_replace({json}, '(?<!\\)((?:\\\\)*)\\{short}', '\1\\u{code}', 'g')"
                )
            };
            longer(&longer(&json, 'b', "0008"), 'f', "000c")
        }
        ElementForm::Number | ElementForm::Boolean | ElementForm::Json => json,
    }
}

/// What is counted of a load beside its rows: by column, the condition of values that the lake cannot hold and which become NULL.
pub fn nulled(load: &JdbcLoad, columns: &[Column], carried: &[Carried]) -> Vec<(String, String)> {
    let own = own_types(load);
    columns
        .iter()
        .zip(carried)
        .filter(|(column, _)| !own.contains(&column.name))
        .filter_map(|(column, carried)| {
            let name = quoted(&column.name);
            let unheld = |kind: &str| format!("NOT isfinite({name}::{kind})");
            let condition = match carried {
                Carried::Decimal { .. } => unheld_numeric(&name),
                Carried::Date => unheld("date"),
                Carried::Timestamp => unheld("timestamp"),
                Carried::TimestampUtc => unheld("timestamptz"),
                Carried::Boolean
                | Carried::Int32
                | Carried::Int64
                | Carried::Float32
                | Carried::Float64
                | Carried::Binary
                | Carried::Text(_)
                | Carried::Array(_) => return None,
            };
            Some((column.name.clone(), condition))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Stored;
    use crate::types::carried;
    use pipeline::path::TableName;
    use pipeline::plan::Load;

    fn load(options: &[(&str, &str)], relation: Option<&str>) -> JdbcLoad {
        JdbcLoad {
            load: Load {
                source: TableName {
                    schema: "public".to_owned(),
                    table: "Odd \"t".to_owned(),
                },
                loads: String::new(),
                parallelism: 3,
                changes_follow: false,
            },
            relation: relation.map(str::to_owned),
            options: options
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    fn table(pages: Option<u64>) -> Table {
        let name = load(&[], None).load.source;
        let column = |name: &str, kind: &str, modifier| Column {
            name: name.to_owned(),
            shown_type: kind.to_owned(),
            facts: TypeFacts {
                name: kind.to_owned(),
                kind: TypeKind::BuiltIn,
                modifier,
                output: format!("pg_catalog.{kind}out"),
            },
        };
        Table {
            oid: 1,
            name: name.clone(),
            columns: vec![
                column("a", "int2", -1),
                column("p", "numeric", ((5 << 16) | 2) + 4),
                column("n", "numeric", -1),
            ],
            generated: Vec::new(),
            primary_key: Vec::new(),
            reach: match pages {
                None => Reach::Whole,
                pages => Reach::Pages(vec![Stored { name, pages }]),
            },
            rows_estimate: 0,
            not_followed: None,
        }
    }

    fn read(load: &JdbcLoad, table: &Table) -> Reading {
        let carried: Vec<Carried> = table
            .columns
            .iter()
            .map(|column| carried(&column.facts).expect("a type"))
            .collect();
        reading(load, table, &carried, "0003-1", "SET x = 1")
    }

    #[test]
    fn a_table_is_read_in_pieces_by_row_address() {
        let reading = read(
            &load(&[("fetchsize", "7"), ("lowerbound", "1")], None),
            &table(Some(3000)),
        );
        assert_eq!(
            reading.relation,
            "(SELECT \"a\"::int4 AS \"a\", \
             (CASE WHEN NOT (\"p\"::numeric IN ('NaN', 'Infinity', '-Infinity')) THEN \"p\" END)::numeric(5,2) AS \"p\", \
             pg_catalog.textin(pg_catalog.numericout(\"n\")) AS \"n\", ctid FROM \"public\".\"Odd \"\"t\") AS loaded"
        );
        assert_eq!(
            reading.predicates,
            [
                "ctid < '(1000,0)'",
                "ctid >= '(1000,0)' AND ctid < '(2000,0)'",
                "ctid >= '(2000,0)'"
            ]
        );
        assert_eq!(
            reading.options,
            BTreeMap::from([("fetchsize".to_owned(), "7".to_owned())])
        );
        assert_eq!(
            reading.session,
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT '0003-1'; SET x = 1"
        );
        assert_eq!(read(&load(&[], None), &table(Some(5))).predicates, ["true"]);
    }

    #[test]
    fn a_name_that_spark_cannot_quote_is_another_in_the_relation() {
        let mut table = table(None);
        table.columns[0].name = "odd \" name".to_owned();
        let reading = read(&load(&[], None), &table);
        assert!(
            reading
                .relation
                .starts_with("(SELECT \"odd \"\" name\"::int4 AS \"headwater column 0\", "),
            "{}",
            reading.relation
        );
        let names = (
            reading.columns[0].name.as_str(),
            reading.columns[0].from.as_str(),
        );
        assert_eq!(names, ("odd \" name", "headwater column 0"));
    }

    #[test]
    fn a_query_is_read_as_its_item_says() {
        let options = [
            ("partitioncolumn", "a"),
            ("lowerbound", "1"),
            ("upperbound", "9"),
            (
                "customschema",
                "`n` DECIMAL(20, 3), other STRUCT<x: INT, y: INT>",
            ),
            ("preparequery", "WITH q AS (SELECT 1)"),
            ("sessioninitstatement", "SET work_mem = '1GB'"),
        ];
        let load = load(&options, Some("(SELECT * FROM q) AS s"));
        let reading = read(&load, &table(None));
        assert!(reading.relation.contains("\"n\" AS \"n\", \"a\" AS \"headwater dividing column\" FROM (SELECT * FROM q) AS s) AS loaded"), "{}", reading.relation);
        assert_eq!(reading.options["partitioncolumn"], DIVIDING);
        assert_eq!(reading.options["numpartitions"], "3");
        assert!(reading.predicates.is_empty());
        assert!(
            reading
                .session
                .ends_with("SET x = 1; RESET search_path; SET work_mem = '1GB'")
        );
        assert_eq!(
            own_types(&load).into_iter().collect::<Vec<_>>(),
            ["n", "other"]
        );
        let from = From::of(&load);
        assert_eq!(
            from.select("*"),
            "WITH q AS (SELECT 1) SELECT * FROM (SELECT * FROM q) AS s"
        );
    }
}
