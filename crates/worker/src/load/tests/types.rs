//! Every type from COPY binary into Parquet is what the server's own text says.

use super::*;
use crate::source::{SESSION, table as read_table};
use crate::types::{BUILT_IN, ColumnBuilder, Rule, carried};
use std::collections::BTreeMap;
use tokio_postgres::SimpleQueryMessage;

/// Values of each built-in type: ordinary ones, the ends of the range, and what the lake cannot hold. NULL is added to each.
const BUILT_IN_VALUES: &[(&str, &[&str])] = &[
    ("bool", &["true", "false"]),
    ("int2", &["0", "-32768", "32767"]),
    ("int4", &["0", "-2147483648", "2147483647"]),
    (
        "int8",
        &["0", "-9223372036854775808", "9223372036854775807"],
    ),
    ("oid", &["0", "4294967295"]),
    (
        "float4",
        &[
            "0",
            "-0",
            "1.1",
            "3.4028235e38",
            "1e-45",
            "NaN",
            "Infinity",
            "-Infinity",
        ],
    ),
    (
        "float8",
        &[
            "0",
            "-0",
            "0.1",
            "1.7976931348623157e308",
            "5e-324",
            "NaN",
            "Infinity",
            "-Infinity",
        ],
    ),
    (
        "numeric",
        &[
            "0",
            "-1.50",
            "123456789012345678901234567890123456789012.000000001",
            "1e-30",
            "NaN",
            "Infinity",
        ],
    ),
    ("money", &["-1234.56", "92233720368547758.07"]),
    ("text", &["", "a", "quote ' \" \\ and\nline", "Grüße 🚰"]),
    ("varchar", &["", "abc"]),
    ("bpchar", &["abc  ", ""]),
    ("char", &["x", ""]),
    ("name", &["a name"]),
    ("bytea", &["\\x", "\\x00ff5c27"]),
    (
        "date",
        &[
            "1970-01-01",
            "2000-02-29",
            "4713-01-01 BC",
            "5874897-12-31",
            "infinity",
            "-infinity",
        ],
    ),
    (
        "timestamp",
        &[
            "1970-01-01 00:00:00",
            "1969-12-31 23:59:59.999999",
            "4713-01-01 00:00:00 BC",
            "294246-12-31 23:59:59.999999",
            "infinity",
            "-infinity",
        ],
    ),
    (
        "timestamptz",
        &[
            "1970-01-01 00:00:00+00",
            "2026-03-29 02:30:00.5+02",
            "4713-01-01 00:00:00+00 BC",
            "294246-12-31 00:00:00+00",
            "infinity",
            "-infinity",
        ],
    ),
    ("time", &["00:00:00", "23:59:59.999999", "24:00:00"]),
    ("timetz", &["00:00:00+00", "23:59:59.999999-15:59"]),
    (
        "interval",
        &[
            "0",
            "1 year -2 months 3 days 04:05:06.789",
            "-178000000 years",
            "1 microsecond",
        ],
    ),
    (
        "uuid",
        &[
            "00000000-0000-0000-0000-000000000000",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        ],
    ),
    ("json", &["{\"a\" :  1,\"a\":2}", "null"]),
    ("jsonb", &["{\"b\": [1, 2.50, \"ü\"], \"a\": null}", "null"]),
    ("jsonpath", &["$.a[*] ? (@ > 1)"]),
    ("xml", &["<a b=\"c\">d</a>"]),
    ("bit", &["0", "0101", "11111111111111111"]),
    ("varbit", &["", "0101"]),
    ("inet", &["192.168.0.1", "10.0.0.0/8", "::1/64"]),
    ("cidr", &["10.0.0.0/8", "2001:db8::/32"]),
    ("macaddr", &["08:00:2b:01:02:03"]),
    ("macaddr8", &["08:00:2b:01:02:03:04:05"]),
    ("point", &["(1,-2.5)"]),
    ("line", &["{1,2,3}"]),
    ("lseg", &["[(1,2),(3,4)]"]),
    ("box", &["(3,4),(1,2)"]),
    ("path", &["[(1,2),(3,4)]", "((1,2),(3,4))"]),
    ("polygon", &["((1,2),(3,4),(5,6))"]),
    ("circle", &["<(1,2),3>"]),
    ("tsvector", &["'a':1A 'b':2"]),
    ("tsquery", &["'a' & !'b'"]),
    ("int4range", &["[1,10)", "empty", "(,5)"]),
    ("int8range", &["[1,10)"]),
    ("numrange", &["[1.5,2.50]"]),
    ("daterange", &["[2026-01-01,infinity)"]),
    (
        "tsrange",
        &["[\"2026-01-01 00:00:00\",\"2026-01-02 00:00:00\")"],
    ),
    ("tstzrange", &["[\"2026-01-01 00:00:00+02\",)"]),
    ("int4multirange", &["{[1,3),[5,7)}", "{}"]),
    ("int8multirange", &["{[1,3)}"]),
    ("nummultirange", &["{[1.5,2.50]}"]),
    ("datemultirange", &["{[2026-01-01,2026-02-01)}"]),
    (
        "tsmultirange",
        &["{[\"2026-01-01 00:00:00\",\"2026-01-02 00:00:00\")}"],
    ),
    (
        "tstzmultirange",
        &["{[\"2026-01-01 00:00:00+02\",\"2026-01-02 00:00:00+02\")}"],
    ),
    ("pg_lsn", &["16/B374D848"]),
    ("pg_snapshot", &["10:20:10,14"]),
    ("txid_snapshot", &["10:20:10,14"]),
    ("xid", &["4294967295"]),
    ("xid8", &["18446744073709551615"]),
    ("cid", &["7"]),
    ("tid", &["(0,1)"]),
    ("regclass", &["pg_class", "1"]),
    ("regcollation", &["\"C\""]),
    ("regconfig", &["english"]),
    ("regdictionary", &["simple"]),
    ("regnamespace", &["public"]),
    ("regoper", &["||/"]),
    ("regoperator", &["+(integer,integer)"]),
    ("regproc", &["pg_backend_pid"]),
    ("regprocedure", &["abs(integer)"]),
    ("regrole", &["headwater"]),
    ("regtype", &["integer", "text[]"]),
    ("refcursor", &["a cursor"]),
    ("aclitem", &["headwater=r/headwater"]),
    ("int2vector", &["1 2 3"]),
    ("oidvector", &["1 4294967295"]),
];

/// Types that are made of others, or have a modifier.
const MADE_VALUES: &[(&str, &[&str])] = &[
    ("numeric(5,2)", &["0", "-999.99", "0.01", "NaN"]),
    (
        "numeric(38,0)",
        &[
            "99999999999999999999999999999999999999",
            "-99999999999999999999999999999999999999",
            "10000",
        ],
    ),
    (
        "numeric(38,38)",
        &[
            "0.99999999999999999999999999999999999999",
            "-0.00000000000000000000000000000000000001",
        ],
    ),
    (
        "numeric(18,4)",
        &["12345678901234.5678", "-0.0001", "10000.0000"],
    ),
    (
        "numeric(50,2)",
        &["123456789012345678901234567890123456789012345678.90"],
    ),
    ("char(5)", &["ab", ""]),
    ("varchar(3)", &["abc"]),
    ("timestamp(0)", &["2026-01-01 00:00:00"]),
    ("bool[]", &["{t,f,NULL}"]),
    (
        "int4[]",
        &["{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "[0:1]={1,2}"],
    ),
    ("float8[]", &["{1.5,NaN,-Infinity}"]),
    ("numeric(5,2)[]", &["{1.50,NaN}"]),
    ("text[]", &["{a,\"b c\",\"NULL\",\"q\\\"\\\\\",NULL,\"\"}"]),
    ("jsonb[]", &["{\"{\\\"a\\\": 1}\"}"]),
    ("timestamptz[]", &["{\"2026-01-01 00:00:00+02\"}"]),
    ("box[]", &["{(1,1),(0,0);(2,2),(1,1)}"]),
    ("mood", &["sad", "quite happy"]),
    ("mood[]", &["{sad,\"quite happy\"}"]),
    ("positive", &["1"]),
    ("price", &["12.30", "NaN"]),
    ("pair", &["(1,\"a, b\")", "(,)"]),
    ("pair[]", &["{\"(1,a)\"}"]),
    ("own_range", &["[1.5,2)"]),
];

const MADE_TYPES: &str = "CREATE TYPE mood AS ENUM ('sad', 'quite happy'); CREATE DOMAIN positive AS int CHECK (value > 0);
    CREATE DOMAIN price AS numeric(8,2); CREATE TYPE pair AS (a int, b text); CREATE TYPE own_range AS RANGE (subtype = float8);";

/// Columns `c0`, `c1` ... and a row for each position in the lists of values; NULL where a list has ended.
fn statements() -> String {
    let built_in = BUILT_IN_VALUES
        .iter()
        .map(|(name, values)| (format!("pg_catalog.\"{name}\""), *values));
    let made = MADE_VALUES
        .iter()
        .map(|(name, values)| ((*name).to_owned(), *values));
    let columns: Vec<(String, &[&str])> = built_in.chain(made).collect();
    let definitions: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(at, (name, _))| format!("c{at} {name}"))
        .collect();
    let mut sql = format!("{MADE_TYPES} CREATE TABLE t ({});", definitions.join(", "));
    let rows = columns
        .iter()
        .map(|(_, values)| values.len())
        .max()
        .unwrap_or(0);
    for row in 0..=rows {
        let values: Vec<String> = columns
            .iter()
            .map(|(name, values)| match values.get(row) {
                Some(value) => format!("'{}'::{name}", value.replace('\'', "''")),
                None => "NULL".to_owned(),
            })
            .collect();
        sql += &format!("INSERT INTO t VALUES ({});", values.join(", "));
    }
    sql
}

/// For `scripts/interop`, which has Spark load them.
#[test]
fn the_values_are_written_down_for_scripts() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/load/tests/types.sql");
    let statements = statements().replace(";INSERT", ";\nINSERT");
    if std::env::var_os("RENEW").is_some() {
        fs::write(path, &statements).expect("a file");
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == statements,
        "RENEW=1 cargo test -p worker load::tests::types"
    );
}

#[tokio::test]
async fn every_type_arrives_as_the_servers_own_text_says() {
    let tested: Vec<&str> = BUILT_IN_VALUES.iter().map(|(name, _)| *name).collect();
    let kept = BUILT_IN
        .iter()
        .filter(|row| !matches!(row.rule, Rule::Refused(_)));
    assert_eq!(
        tested,
        kept.map(|row| row.name).collect::<Vec<_>>(),
        "every type of the table has values here"
    );

    let scene = Scene::new(&statements()).await;
    let table = Scene::table("t");
    let report = scene.load("a", "t").await.expect("a load");
    let rows = scene.rows("a", &table);

    let client = &scene.database.client;
    client.batch_execute(SESSION).await.expect("a session");
    let found = read_table(client, &table).await.expect("a table");
    // The order of one connection's rows is that of the table: it is small.
    let messages = client
        .simple_query("SELECT * FROM public.t ORDER BY ctid")
        .await
        .expect("texts");
    let mut nulled = BTreeMap::new();
    for (index, column) in found.columns.iter().enumerate() {
        let mut expected =
            ColumnBuilder::new(&carried(&column.facts).expect("a type that is carried"));
        for message in &messages {
            let SimpleQueryMessage::Row(row) = message else {
                continue;
            };
            match row.get(index) {
                Some(text) => expected
                    .append_text(text)
                    .unwrap_or_else(|bad| panic!("{} {text}: {bad}", column.shown_type)),
                None => expected.append_null(),
            }
        }
        if expected.nulled() > 0 {
            nulled.insert(column.name.clone(), expected.nulled());
        }
        let expected = expected.finish().expect("a column");
        assert_eq!(
            &rows[column.name.as_str()],
            &expected,
            "{}",
            column.shown_type
        );
    }
    assert_eq!(report.nulled, nulled);
    assert_eq!(scene.manifest("a", &table).nulled, nulled);
    let nulled: Vec<&str> = found
        .columns
        .iter()
        .filter(|column| nulled.contains_key(&column.name))
        .map(|column| column.shown_type.as_str())
        .collect();
    let expected = [
        "date",
        "timestamp without time zone",
        "timestamp with time zone",
        "numeric(5,2)",
        "public.price",
    ];
    assert_eq!(
        nulled, expected,
        "types whose infinities or NaN the lake cannot hold"
    );
}
