//! A real Postgres against batches that hold the same rows, and against batches that do not.

mod home;

use super::columns::{self, Columns};
use super::compare::{Comparison, Kind, Limits, Side, Total, compare};
use super::progress::Meter;
use super::report::{Status, TableReport};
use super::row::Row;
use super::silver::{Batches, SilverTable};
use super::source::{Snapshot, SourceTable};
use crate::failure::Failure;
use crate::test_postgres::{Database, postgres};
use crate::types::{self, BUILT_IN, Carried, ColumnBuilder, Rule};
use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::{Field, Schema};
use futures::{Stream, TryStreamExt, stream};
use pipeline::path::TableName;
use std::sync::Arc;

/// Batches in memory.
#[derive(Clone)]
pub struct Memory(pub RecordBatch);

impl Batches for Memory {
    async fn read(
        &self,
        columns: &[String],
    ) -> Result<impl Stream<Item = Result<RecordBatch, Failure>> + Send, Failure> {
        let schema = self.0.schema();
        let indices: Vec<usize> = columns
            .iter()
            .map(|name| schema.index_of(name).expect("a column that silver has"))
            .collect();
        let half = self.0.num_rows() / 2;
        let projected = self.0.project(&indices).expect("columns");
        let rest = projected.slice(half, projected.num_rows() - half);
        Ok(stream::iter([Ok(projected.slice(0, half)), Ok(rest)]))
    }
}

fn name(table: &str) -> TableName {
    TableName {
        schema: "public".into(),
        table: table.into(),
    }
}

/// A table as the load makes it: what COPY binary gives, through the load's own decoding.
pub async fn loaded(database: &Database, table: &str) -> RecordBatch {
    let client = crate::source::connect(&database.secret).await.unwrap();
    let table = crate::source::table(&client, &name(table)).await.unwrap();
    let carried: Vec<Carried> = table
        .columns
        .iter()
        .map(|column| types::carried(&column.facts).unwrap())
        .collect();
    let selected: Vec<String> = table
        .columns
        .iter()
        .zip(&carried)
        .map(|(column, carried)| {
            carried.selected(&crate::source::quoted(&column.name), &column.facts)
        })
        .collect();
    let copy = format!(
        "COPY (SELECT {} FROM {}) TO STDOUT (FORMAT binary)",
        selected.join(", "),
        crate::source::quoted_table(&table.name)
    );
    let chunks: Vec<bytes::Bytes> = client
        .copy_out(&copy)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let mut builders: Vec<ColumnBuilder> = carried.iter().map(ColumnBuilder::new).collect();
    append_binary(&chunks.concat(), &mut builders);
    let fields: Vec<Field> = table
        .columns
        .iter()
        .zip(&carried)
        .map(|(column, carried)| Field::new(&column.name, carried.arrow_type(), true))
        .collect();
    let arrays: Vec<ArrayRef> = builders
        .iter_mut()
        .map(|builder| builder.finish().unwrap())
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn append_binary(copy: &[u8], builders: &mut [ColumnBuilder]) {
    const HEADER: usize = 19;
    let mut rest = &copy[HEADER..];
    let mut take = |bytes: usize| {
        let (taken, after) = rest.split_at(bytes);
        rest = after;
        taken
    };
    loop {
        let fields = i16::from_be_bytes(take(2).try_into().unwrap());
        if fields < 0 {
            return;
        }
        for builder in builders.iter_mut() {
            let length = i32::from_be_bytes(take(4).try_into().unwrap());
            match usize::try_from(length) {
                Ok(length) => builder.append_binary(take(length)).unwrap(),
                Err(_) => builder.append_null(),
            }
        }
    }
}

/// The same as capture makes it: what Postgres prints, through the load's own decoding.
async fn captured(database: &Database, table: &str) -> RecordBatch {
    let client = crate::source::connect(&database.secret).await.unwrap();
    let known = crate::source::table(&client, &name(table)).await.unwrap();
    let mut sides = Sides::of(database, table, &Schema::empty()).await;
    let source = Arc::get_mut(&mut sides.source).unwrap();
    for column in &mut source.columns.columns {
        column.rule = super::rule::Rule::Verbatim;
    }
    let printed = Kept::of(source, 1).await;
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for (at, column) in known.columns.iter().enumerate() {
        let carried = types::carried(&column.facts).unwrap();
        let mut builder = ColumnBuilder::new(&carried);
        for row in &printed.0 {
            match &row[at] {
                Some(text) => builder.append_text(text).unwrap(),
                None => builder.append_null(),
            }
        }
        fields.push(Field::new(&column.name, carried.arrow_type(), true));
        arrays.push(builder.finish().unwrap());
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// Both sides of a table whose key is `id`.
pub struct Sides {
    pub columns: Columns,
    source: Arc<SourceTable>,
    // The snapshot lives as long as this.
    _snapshot: Snapshot,
}

impl Sides {
    pub async fn of(database: &Database, table: &str, schema: &Schema) -> Self {
        let snapshot = Snapshot::take(&database.secret).await.unwrap();
        let client = snapshot.join(&database.secret).await.unwrap();
        let source = columns::of_source(&client, &name(table)).await.unwrap();
        let columns = Columns::new(&name(table), source, &["id".to_owned()], schema).unwrap();
        Self {
            source: Arc::new(SourceTable {
                client,
                table: name(table),
                columns: columns.clone(),
                meter: Arc::new(Meter::default()),
            }),
            columns,
            _snapshot: snapshot,
        }
    }

    fn silver(&self, batch: RecordBatch) -> Arc<SilverTable<Memory>> {
        Arc::new(SilverTable {
            batches: Memory(batch),
            columns: self.columns.clone(),
            meter: Arc::new(Meter::default()),
        })
    }

    async fn compare(&self, batch: RecordBatch) -> Comparison {
        let silver = self.silver(batch);
        compare(&self.source, &silver, Limits::USUAL).await.unwrap()
    }

    async fn report(&self, batch: RecordBatch) -> TableReport {
        TableReport::deep("t", &self.columns, self.compare(batch).await)
    }
}

/// The rows of a side, to be looked at again and again without a server.
struct Kept(Vec<Vec<Option<String>>>, usize);

impl Kept {
    async fn of(side: &impl Side, key: usize) -> Self {
        let mut rows = Vec::new();
        side.scan(|row| rows.push(row.cells())).await.unwrap();
        Self(rows, key)
    }
}

impl Side for Kept {
    async fn scan<V>(&self, mut visit: V) -> Result<(), Failure>
    where
        V: FnMut(&Row) + Send,
    {
        let mut row = Row::default();
        for cells in &self.0 {
            row.clear();
            for (at, cell) in cells.iter().enumerate() {
                let text = cell.as_deref().unwrap_or_default();
                row.cell(|out| {
                    out.extend_from_slice(text.as_bytes());
                    Ok::<_, ()>(cell.is_some())
                })
                .unwrap();
                if at + 1 == self.1 {
                    row.end_key();
                }
            }
            visit(&row);
        }
        Ok(())
    }
}

/// Names of types, as columns are declared, and values of each.
const VALUES: &[(&str, &str, &[&str])] = &[
    ("bool", "boolean", &["t", "f"]),
    ("int2", "smallint", &["-32768", "0", "32767"]),
    ("int4", "integer", &["-2147483648", "0", "2147483647"]),
    (
        "int8",
        "bigint",
        &["-9223372036854775808", "0", "9223372036854775807"],
    ),
    ("oid", "oid", &["0", "4294967295"]),
    (
        "float4",
        "real",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "-0",
            "0",
            "1e-45",
            "3.4028235e38",
            "1e6",
            "123456.7",
            "0.1",
            "1.1754944e-38",
            "16777216",
            "33554432",
        ],
    ),
    (
        "float8",
        "double precision",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "-0",
            "5e-324",
            "1.7976931348623157e308",
            "2.2250738585072014e-308",
            "1e23",
            "9.5e22",
            "123456789012345678",
            "1e15",
            "1e-5",
            "0.1",
            "9007199254740993",
            "-1234.5678",
        ],
    ),
    (
        "numeric",
        "numeric",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "0",
            "-0.000",
            "1e100",
            "1.5e-50",
            "-12345678901234567890.123456789",
        ],
    ),
    (
        "numeric",
        "numeric(38,0)",
        &[
            "NaN",
            "99999999999999999999999999999999999999",
            "-99999999999999999999999999999999999999",
            "0",
        ],
    ),
    (
        "numeric",
        "numeric(38,38)",
        &["0.99999999999999999999999999999999999999", "-0.1", "0"],
    ),
    (
        "numeric",
        "numeric(10,2)",
        &[
            "NaN",
            "-99999999.99",
            "99999999.99",
            "0.05",
            "-0.05",
            "100",
            "10000",
        ],
    ),
    (
        "numeric",
        "numeric(18,9)",
        &["0.000000001", "123456789.000000001", "-1.1"],
    ),
    ("numeric", "numeric(5,-2)", &["-9999900", "100", "NaN"]),
    ("numeric", "numeric(3,5)", &["0.00999", "-0.00001"]),
    (
        "numeric",
        "numeric(50,10)",
        &["NaN", "1234567890123456789012345678901234567890.5"],
    ),
    (
        "money",
        "money",
        &["-92233720368547758.08", "92233720368547758.07", "0"],
    ),
    (
        "text",
        "text",
        &[
            "",
            " ",
            "\\N",
            "NULL",
            "tab\tline\nreturn\rback\\slash\u{8}\u{b}\u{c}\u{1}\u{7f}",
            "\"quoted\" 'single'",
            "žluťoučký 🐎",
        ],
    ),
    ("varchar", "varchar(10)", &["", "ten  chars", "é"]),
    ("bpchar", "char(5)", &["", "ab", "abcde"]),
    ("char", "\"char\"", &["a", "", "\\377"]),
    ("name", "name", &["a name", ""]),
    ("bytea", "bytea", &["\\x", "\\x00ff5c0a0d09", "\\x5c4e"]),
    (
        "date",
        "date",
        &[
            "infinity",
            "-infinity",
            "4714-11-24 BC",
            "0001-12-31 BC",
            "0001-01-01",
            "1600-02-29",
            "1900-02-28",
            "1969-12-31",
            "2000-02-29",
            "5874897-12-31",
        ],
    ),
    (
        "timestamp",
        "timestamp",
        &[
            "infinity",
            "-infinity",
            "4714-11-24 00:00:00 BC",
            "0001-12-31 23:59:59.999999 BC",
            "1969-12-31 23:59:59.999999",
            "2000-01-01 00:00:00",
            "2026-03-29 02:30:00.100000",
            "294247-01-10 04:00:54.775807",
        ],
    ),
    (
        "timestamp",
        "timestamp(0)",
        &["2000-02-29 12:34:56", "0044-03-15 12:00:00 BC"],
    ),
    (
        "timestamptz",
        "timestamptz",
        &[
            "infinity",
            "-infinity",
            "4714-11-24 00:00:00+00 BC",
            "0001-12-31 23:59:59.999999+00 BC",
            "2026-07-01 12:00:00.12+05:30",
            "294247-01-10 04:00:54.775807+00",
        ],
    ),
    ("time", "time", &["00:00:00", "24:00:00", "23:59:59.999999"]),
    (
        "timetz",
        "timetz",
        &["00:00:00+15:59", "23:59:59.999999-15:59", "12:00:00+02"],
    ),
    (
        "interval",
        "interval",
        &[
            "178000000 years",
            "-178000000 years",
            "1 year 2 mons 3 days 04:05:06.789",
            "-00:00:00.000001",
            "1 mon -1 day",
            "0",
        ],
    ),
    (
        "uuid",
        "uuid",
        &[
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF-ffff-ffff-ffff-fffffffffff0",
        ],
    ),
    (
        "json",
        "json",
        &["{\"b\" : 1,\n \"a\":[1.0, null]}", "\"\\u00e9\\n\"", "null"],
    ),
    (
        "jsonb",
        "jsonb",
        &["{\"b\":1, \"a\":[1.0, null]}", "\"\\u00e9\\n\"", "1e2"],
    ),
    ("jsonpath", "jsonpath", &["$.a[*] ? (@ > 1)"]),
    ("xml", "xml", &["<a b=\"1\">text &amp;</a>", ""]),
    ("bit", "bit(4)", &["0101", "1111"]),
    ("varbit", "varbit", &["", "010101010101"]),
    (
        "inet",
        "inet",
        &["10.0.0.1", "10.0.0.1/8", "::1", "::ffff:1.2.3.4/96"],
    ),
    (
        "cidr",
        "cidr",
        &["10.0.0.0/8", "2001:db8::/32", "10.0.0.1/32"],
    ),
    ("macaddr", "macaddr", &["08:00:2b:01:02:03"]),
    ("macaddr8", "macaddr8", &["08:00:2b:01:02:03:04:05"]),
    ("point", "point", &["(1.5,-2e100)", "(NaN,Infinity)"]),
    ("line", "line", &["{1,-1,0}"]),
    ("lseg", "lseg", &["[(0,0),(1,1)]"]),
    ("box", "box", &["(1,1),(0,0)"]),
    ("path", "path", &["[(0,0),(1,1)]", "((0,0),(1,1))"]),
    ("polygon", "polygon", &["((0,0),(1,1),(1,0))"]),
    ("circle", "circle", &["<(0,0),1.5>"]),
    ("tsvector", "tsvector", &["a:1A 'fat cat':2", ""]),
    ("tsquery", "tsquery", &["fat & !cat", ""]),
    ("int4range", "int4range", &["empty", "[1,10)", "(,)"]),
    ("int8range", "int8range", &["[-9223372036854775808,0)"]),
    ("numrange", "numrange", &["(1.10,2.0]", "[NaN,NaN]"]),
    (
        "daterange",
        "daterange",
        &["[2020-01-01,infinity)", "[0001-01-01 BC,2020-01-01)"],
    ),
    (
        "tsrange",
        "tsrange",
        &["[\"2020-01-01 00:00:00\",\"2020-01-02 00:00:00.5\"]"],
    ),
    ("tstzrange", "tstzrange", &["[\"2020-01-01 00:00:00+02\",)"]),
    ("int4multirange", "int4multirange", &["{[1,3),[5,7)}", "{}"]),
    ("int8multirange", "int8multirange", &["{[1,3)}"]),
    ("nummultirange", "nummultirange", &["{[1.0,3.5)}"]),
    (
        "datemultirange",
        "datemultirange",
        &["{[2020-01-01,2020-02-01)}"],
    ),
    (
        "tsmultirange",
        "tsmultirange",
        &["{[\"2020-01-01 00:00:00\",)}"],
    ),
    (
        "tstzmultirange",
        "tstzmultirange",
        &["{[\"2020-01-01 00:00:00+02\",)}"],
    ),
    ("pg_lsn", "pg_lsn", &["FFFFFFFF/FFFFFFFF", "0/0"]),
    ("pg_snapshot", "pg_snapshot", &["10:20:10,14,15"]),
    ("txid_snapshot", "txid_snapshot", &["10:20:10,14,15"]),
    ("xid", "xid", &["0", "4294967295"]),
    ("xid8", "xid8", &["18446744073709551615"]),
    ("cid", "cid", &["4294967295"]),
    ("tid", "tid", &["(0,1)"]),
    ("regclass", "regclass", &["pg_class", "kept"]),
    ("regcollation", "regcollation", &["\"C\""]),
    ("regconfig", "regconfig", &["english"]),
    ("regdictionary", "regdictionary", &["simple"]),
    ("regnamespace", "regnamespace", &["public"]),
    ("regoper", "regoper", &["||/"]),
    ("regoperator", "regoperator", &["+(integer,integer)"]),
    ("regproc", "regproc", &["now"]),
    ("regprocedure", "regprocedure", &["abs(integer)"]),
    ("regrole", "regrole", &["postgres_reader"]),
    ("regtype", "regtype", &["integer", "mood"]),
    ("refcursor", "refcursor", &["a cursor"]),
    ("aclitem", "aclitem", &["postgres_reader=r/postgres_reader"]),
    ("int2vector", "int2vector", &["1 2 3", ""]),
    ("oidvector", "oidvector", &["1 2 3"]),
    // Types that are no scalars of `pg_catalog`.
    ("", "mood", &["it's \"fine\"", "sad"]),
    ("", "pair", &["(1,\"a,b\")", "(,)"]),
    ("", "positive", &["1.50", "NaN"]),
    ("", "floats", &["[1.5,2)"]),
    (
        "",
        "integer[]",
        &["{}", "{1,NULL,-3}", "[0:1]={1,2}", "{{1,2},{3,4}}"],
    ),
    ("", "boolean[]", &["{t,f,NULL}"]),
    ("", "double precision[]", &["{NaN,Infinity,1e300,0.1}"]),
    ("", "numeric(10,2)[]", &["{NaN,1.5}"]),
    (
        "",
        "text[]",
        &["{a,NULL,\"NULL\",\"\",\"q\\\"b\\\\s,{}\",\"tab\tline\n\u{1}\"}"],
    ),
    ("", "json[]", &["{\"{\\\"a\\\": [1, 2]}\",null,NULL}"]),
    ("", "jsonb[]", &["{\"[1, 2]\",\"\\\"text\\\"\"}"]),
    (
        "",
        "timestamptz[]",
        &["{\"2026-01-01 00:00:00+02\",infinity}"],
    ),
    ("", "bytea[]", &["{\"\\\\x00ff\"}"]),
    ("", "box[]", &["{(1,1),(0,0);(2,2),(1,1)}"]),
    ("", "mood[]", &["{sad,NULL}"]),
    ("", "pair[]", &["{\"(1,\\\"a,b\\\")\"}"]),
    ("", "positive[]", &["{1.5,NaN}"]),
    ("", "counts", &["{1,2}"]),
    ("", "interval[]", &["{\"1 day\",\"-00:00:01\"}"]),
];

/// A table `kept` with a column per line of `VALUES`, the last row without any value.
async fn all_types() -> Database {
    let database = postgres().database().await;
    let mut sql = String::from(
        "DO $$ BEGIN CREATE ROLE postgres_reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         CREATE TYPE mood AS ENUM ('it''s \"fine\"', 'sad'); CREATE TYPE pair AS (a int, b text);
         CREATE DOMAIN positive AS numeric(10,2); CREATE TYPE floats AS RANGE (subtype = float8);
         CREATE DOMAIN counts AS integer[]; CREATE TABLE kept (id integer PRIMARY KEY",
    );
    for (at, (_, declared, _)) in VALUES.iter().enumerate() {
        sql.push_str(&format!(", c{at} {declared}"));
    }
    sql.push_str(");");
    let rows = VALUES
        .iter()
        .map(|(_, _, values)| values.len())
        .max()
        .unwrap();
    for row in 0..=rows {
        sql.push_str(&format!("INSERT INTO kept VALUES ({row}"));
        for (_, _, values) in VALUES {
            sql.push_str(&match values.get(row) {
                Some(value) => format!(", '{}'", value.replace('\'', "''")),
                None => ", NULL".to_owned(),
            });
        }
        sql.push_str(");");
    }
    database.client.batch_execute(&sql).await.unwrap();
    database
}

/// The same number of rows, of which one column is that of other rows.
fn with_column(batch: &RecordBatch, column: usize, rows: &[u32]) -> RecordBatch {
    let mut arrays = batch.columns().to_vec();
    arrays[column] = take(&arrays[column], &UInt32Array::from(rows.to_vec()), None).unwrap();
    RecordBatch::try_new(batch.schema(), arrays).unwrap()
}

fn with_rows(batch: &RecordBatch, rows: impl IntoIterator<Item = u32>) -> RecordBatch {
    take_record_batch(batch, &UInt32Array::from_iter_values(rows)).unwrap()
}

#[test]
fn values_of_every_type_that_is_carried_are_compared() {
    for built_in in BUILT_IN {
        let tried = VALUES.iter().any(|(name, ..)| *name == built_in.name);
        assert!(
            tried || matches!(built_in.rule, Rule::Refused(_)),
            "no values of `{}`",
            built_in.name
        );
    }
}

async fn both_ways_equal_the_text_of_postgres(database: &Database, table: &str) {
    for batch in [
        loaded(database, table).await,
        captured(database, table).await,
    ] {
        let sides = Sides::of(database, table, &batch.schema()).await;
        let rows = batch.num_rows() as u64;
        let report = sides.report(batch).await;
        assert_eq!(report.differences, []);
        assert_eq!(report.status, Status::Equal);
        assert_eq!(report.rows_source, Some(rows));
    }
}

#[tokio::test]
async fn what_load_and_capture_make_of_every_type_equals_the_text_of_postgres() {
    let database = all_types().await;
    both_ways_equal_the_text_of_postgres(&database, "kept").await;
}

#[tokio::test]
async fn numbers_and_moments_from_all_over_their_range_equal_the_text_of_postgres() {
    let database = postgres().database().await;
    let sql = "SELECT setseed(0.5);
        CREATE TABLE random AS SELECT n AS id,
          ((random() - 0.5) * 2e9)::int AS int4, ((random() - 0.5) * 1.8e19)::int8 AS int8,
          (random() - 0.5) * power(10, random() * 600 - 300) AS float8,
          ((random() - 0.5) * power(10, random() * 70 - 35))::real AS float4, (random() * 1e7)::int::real AS whole,
          ((random() - 0.5) * 1e8)::numeric(12,4) AS short,
          ((random() - 0.5)::numeric * 1e30 * random()::numeric * 1e7)::numeric(38,1) AS long,
          date '4000-01-01 BC' + (random() * 5e6)::int AS date,
          timestamp '4000-01-01 BC' + random() * interval '290000 years' AS timestamp,
          timestamptz '1970-01-01' + (random() - 0.5) * interval '200 years' AS timestamptz,
          decode(md5(random()::text), 'hex') AS bytea
        FROM generate_series(1, 5000) n";
    database.client.batch_execute(sql).await.unwrap();
    both_ways_equal_the_text_of_postgres(&database, "random").await;
}

#[tokio::test]
async fn any_cell_that_is_changed_is_named() {
    let database = all_types().await;
    let batch = loaded(&database, "kept").await;
    let sides = Sides::of(&database, "kept", &batch.schema()).await;
    let limits = Limits {
        buckets: 16,
        ..Limits::USUAL
    };
    let source = Arc::new(Kept::of(&*sides.source, 1).await);
    let truth = Kept::of(&*sides.silver(batch.clone()), 1).await;
    let rows = batch.num_rows() as u32;
    for column in 1..batch.num_columns() {
        for row in 0..rows {
            // The next row whose value is another.
            let text = |row: u32| &truth.0[row as usize][column];
            let other = (1..rows)
                .map(|step| (row + step) % rows)
                .find(|&other| text(other) != text(row));
            let other = other.expect("two values");
            let taken: Vec<u32> = (0..rows)
                .map(|at| if at == row { other } else { at })
                .collect();
            let silver = sides.silver(with_column(&batch, column, &taken));
            let found = compare(&source, &silver, limits).await.unwrap();
            let report = TableReport::deep("t", &sides.columns, found);
            let [only] = report.differences.as_slice() else {
                panic!("{column}, {row}: {report:?}");
            };
            assert_eq!((only.kind, report.differences_total), ("different", 1));
            assert_eq!(only.key["id"], row.to_string());
            let names: Vec<&str> = only
                .columns
                .iter()
                .map(|column| column.name.as_str())
                .collect();
            assert_eq!(names, [batch.schema().field(column).name().as_str()]);
        }
    }
}

/// 1000 rows, of which each test spoils some.
async fn orders() -> (Database, RecordBatch) {
    let database = postgres().database().await;
    let sql = "CREATE TABLE orders (note text, id bigint PRIMARY KEY, amount numeric(10,2), at timestamptz);
        INSERT INTO orders SELECT 'order ' || n, n, n / 100.0, '2026-01-01'::timestamptz + n * interval '1 s'
        FROM generate_series(1, 1000) n";
    database.client.batch_execute(sql).await.unwrap();
    let batch = loaded(&database, "orders").await;
    (database, batch)
}

#[tokio::test]
async fn a_value_a_lost_file_and_a_repeated_row_are_each_named() {
    let (database, batch) = orders().await;
    let sides = Sides::of(&database, "orders", &batch.schema()).await;
    assert_eq!(sides.report(batch.clone()).await.status, Status::Equal);

    // A change file of three updates, an insert and a delete that never was merged.
    database
        .client
        .batch_execute(
            "UPDATE orders SET amount = amount + 1 WHERE id IN (7, 8, 9);
             INSERT INTO orders VALUES ('new', 1001, 0, NULL); DELETE FROM orders WHERE id = 500",
        )
        .await
        .unwrap();
    let sides = Sides::of(&database, "orders", &batch.schema()).await;
    let repeated = with_rows(&batch, (0..1000).chain([41]));
    let report = sides.report(repeated).await;
    assert_eq!(report.status, Status::Different);
    assert_eq!(
        (report.rows_source, report.rows_silver),
        (Some(1000), Some(1001))
    );
    assert_eq!(
        (report.differences_total, report.differences_at_least),
        (6, false)
    );
    let named: Vec<String> = report
        .differences
        .iter()
        .map(|row| {
            let columns: Vec<String> = row
                .columns
                .iter()
                .map(|column| format!(" {} {:?} {:?}", column.name, column.source, column.silver))
                .collect();
            format!(
                "{} {}{}",
                row.kind,
                row.key["id"].as_str().unwrap(),
                columns.concat()
            )
        })
        .collect();
    assert_eq!(
        named,
        [
            "missing 1001",
            "extra 500",
            "different 7 amount Some(\"1.07\") Some(\"0.07\")",
            "different 8 amount Some(\"1.08\") Some(\"0.08\")",
            "different 9 amount Some(\"1.09\") Some(\"0.09\")",
            "duplicated 42",
        ]
    );
}

#[tokio::test]
async fn when_everything_differs_memory_is_bounded_and_the_total_says_so() {
    let (database, batch) = orders().await;
    database
        .client
        .batch_execute("UPDATE orders SET note = note || '!'")
        .await
        .unwrap();
    let sides = Sides::of(&database, "orders", &batch.schema()).await;
    let silver = sides.silver(batch);
    let whole = Limits {
        buckets: 64,
        rows: 2000,
        named: 10,
    };
    let found = compare(&sides.source, &silver, whole).await.unwrap();
    assert_eq!(found.total, Total::Exactly(1000));
    assert_eq!(found.named.len(), 10);
    assert!(found.named.iter().all(|row| row.kind == Kind::Different));
    let less = Limits { rows: 200, ..whole };
    let found = compare(&sides.source, &silver, less).await.unwrap();
    let Total::AtLeast(total) = found.total else {
        panic!("{:?}", found.total);
    };
    assert!((64..=200).contains(&total), "{total}");
    assert_eq!(found.named.len(), 10);
}

#[tokio::test]
async fn a_column_that_silver_lacks_is_a_difference_and_an_empty_table_is_not() {
    let (database, batch) = orders().await;
    let narrow = batch.project(&[0, 1, 2]).unwrap();
    let sides = Sides::of(&database, "orders", &narrow.schema()).await;
    let report = sides.report(narrow).await;
    assert_eq!(report.status, Status::Different);
    assert_eq!(report.reason.as_deref(), Some("silver has no column `at`"));

    database
        .client
        .batch_execute("DELETE FROM orders")
        .await
        .unwrap();
    let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
    let sides = Sides::of(&database, "orders", &nothing.schema()).await;
    let report = sides.report(nothing).await;
    assert_eq!(
        (report.status, report.rows_silver),
        (Status::Equal, Some(0))
    );
}
