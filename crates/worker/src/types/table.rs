//! The normative table: every built-in scalar type, how it is carried, and what AWS DMS documents.

use super::{Carried, TextForm};

/// One type of `pg_catalog`.
#[derive(Debug)]
pub struct BuiltIn {
    /// `pg_type.typname`.
    pub name: &'static str,
    pub rule: Rule,
    /// What AWS DMS documents for Parquet in S3, where it does.
    pub dms: &'static str,
    pub remark: &'static str,
}

#[derive(Debug)]
pub enum Rule {
    As(Carried),
    /// DECIMAL where precision and scale allow it, else text.
    Numeric,
    /// Why it cannot be carried.
    Refused(&'static str),
}

const PLAIN: Carried = Carried::Text(TextForm::Plain);
const SERVER: Carried = Carried::Text(TextForm::FromServer);
const INTERNAL: &str = "an internal type whose text cannot be read back";

const fn row(
    name: &'static str,
    carried: Carried,
    dms: &'static str,
    remark: &'static str,
) -> BuiltIn {
    BuiltIn {
        name,
        rule: Rule::As(carried),
        dms,
        remark,
    }
}

const fn refused(name: &'static str) -> BuiltIn {
    BuiltIn {
        name,
        rule: Rule::Refused(INTERNAL),
        dms: "",
        remark: INTERNAL,
    }
}

/// Every scalar type of `pg_catalog` of Postgres 14 to 17.
pub const BUILT_IN: &[BuiltIn] = &[
    row(
        "bool",
        Carried::Boolean,
        "STRING `true`/`false`, or BOOLEAN when mapped",
        "both are read",
    ),
    row(
        "int2",
        Carried::Int32,
        "INT16",
        "Hudi has no 16-bit integer; both are read",
    ),
    row("int4", Carried::Int32, "INT32", ""),
    row("int8", Carried::Int64, "INT64", ""),
    row("oid", Carried::Int64, "", "unsigned in Postgres"),
    row(
        "float4",
        Carried::Float32,
        "FLOAT",
        "NaN and infinities are kept",
    ),
    row(
        "float8",
        Carried::Float64,
        "DOUBLE",
        "NaN and infinities are kept",
    ),
    BuiltIn {
        name: "numeric",
        rule: Rule::Numeric,
        dms: "DECIMAL(p,s) up to 38 digits, text above; (28,6) without precision",
        remark: "DECIMAL(p,s) when 0 <= s <= p <= 38, and NaN and infinities become NULL, counted; else text: without a precision any fixed scale would lose digits",
    },
    row(
        "money",
        SERVER,
        "DECIMAL(38,4)",
        "text as under `lc_monetary = 'C'`: `-$1,234.56`",
    ),
    row("text", PLAIN, "STRING", ""),
    row("varchar", PLAIN, "STRING", ""),
    row(
        "bpchar",
        PLAIN,
        "STRING",
        "char(n): padded with blanks, as Postgres prints it",
    ),
    row("char", SERVER, "", "the one-byte type `\"char\"`"),
    row("name", PLAIN, "", ""),
    row("bytea", Carried::Binary, "BINARY", ""),
    row(
        "date",
        Carried::Date,
        "DATE",
        "`infinity` and `-infinity` become NULL, counted; proleptic Gregorian, BC included",
    ),
    row(
        "timestamp",
        Carried::Timestamp,
        "TIMESTAMP",
        "microseconds without a zone; infinities become NULL, counted; a moment after the year 294246 fails the table",
    ),
    row(
        "timestamptz",
        Carried::TimestampUtc,
        "TIMESTAMP",
        "microseconds in UTC; as above",
    ),
    row(
        "time",
        SERVER,
        "STRING",
        "`23:59:59.999999`; Hudi has no time of day",
    ),
    row("timetz", SERVER, "STRING", "`23:59:59.999999+02`"),
    row(
        "interval",
        SERVER,
        "STRING",
        "as under `IntervalStyle = 'postgres'`: `1 year 2 mons 3 days 04:05:06`",
    ),
    row(
        "uuid",
        Carried::Text(TextForm::Uuid),
        "STRING",
        "lower case with dashes",
    ),
    row("json", PLAIN, "STRING", "as it was entered"),
    row(
        "jsonb",
        Carried::Text(TextForm::Versioned),
        "STRING",
        "as Postgres prints it",
    ),
    row("jsonpath", SERVER, "", ""),
    row("xml", SERVER, "STRING", ""),
    row("bit", SERVER, "STRING", "`0101`"),
    row("varbit", SERVER, "STRING", "`0101`"),
    row(
        "inet",
        SERVER,
        "STRING",
        "without the mask of a single host, as Postgres prints it",
    ),
    row("cidr", SERVER, "STRING", ""),
    row("macaddr", SERVER, "STRING", ""),
    row("macaddr8", SERVER, "STRING", ""),
    row("point", SERVER, "STRING", "`(1,2)`"),
    row("line", SERVER, "STRING", "`{1,2,3}`"),
    row("lseg", SERVER, "STRING", ""),
    row("box", SERVER, "STRING", ""),
    row("path", SERVER, "STRING", ""),
    row("polygon", SERVER, "STRING", ""),
    row("circle", SERVER, "STRING", "`<(1,2),3>`"),
    row("tsvector", SERVER, "STRING", ""),
    row("tsquery", SERVER, "STRING", ""),
    row("int4range", SERVER, "STRING", "`[1,10)`"),
    row("int8range", SERVER, "STRING", ""),
    row("numrange", SERVER, "STRING", ""),
    row("daterange", SERVER, "STRING", ""),
    row("tsrange", SERVER, "STRING", ""),
    row("tstzrange", SERVER, "STRING", "bounds in UTC"),
    row("int4multirange", SERVER, "", "`{[1,3),[5,7)}`"),
    row("int8multirange", SERVER, "", ""),
    row("nummultirange", SERVER, "", ""),
    row("datemultirange", SERVER, "", ""),
    row("tsmultirange", SERVER, "", ""),
    row("tstzmultirange", SERVER, "", "bounds in UTC"),
    row("pg_lsn", SERVER, "", "`16/B374D848`"),
    row("pg_snapshot", SERVER, "", "`10:20:10,14`"),
    row("txid_snapshot", SERVER, "", "`10:20:10,14`"),
    row("xid", SERVER, "", ""),
    row("xid8", SERVER, "", "unsigned, 64 bits"),
    row("cid", SERVER, "", ""),
    row("tid", SERVER, "", "`(0,1)`"),
    row(
        "regclass",
        SERVER,
        "",
        "the name, with its schema, at the time of reading",
    ),
    row("regcollation", SERVER, "", "as `regclass`"),
    row("regconfig", SERVER, "", "as `regclass`"),
    row("regdictionary", SERVER, "", "as `regclass`"),
    row("regnamespace", SERVER, "", "as `regclass`"),
    row("regoper", SERVER, "", "as `regclass`"),
    row("regoperator", SERVER, "", "as `regclass`"),
    row("regproc", SERVER, "", "as `regclass`"),
    row("regprocedure", SERVER, "", "as `regclass`"),
    row("regrole", SERVER, "", "as `regclass`"),
    row("regtype", SERVER, "", "as `regclass`"),
    row("refcursor", PLAIN, "", "the name"),
    row("aclitem", SERVER, "", "`role=arwdDxt/grantor`"),
    row("int2vector", SERVER, "", "numbers with blanks between them"),
    row("oidvector", SERVER, "", "numbers with blanks between them"),
    refused("gtsvector"),
    refused("pg_brin_bloom_summary"),
    refused("pg_brin_minmax_multi_summary"),
    refused("pg_dependencies"),
    refused("pg_mcv_list"),
    refused("pg_ndistinct"),
    refused("pg_node_tree"),
];

pub(super) fn find(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|row| row.name == name)
}

/// The table of `docs/data-types.md`.
pub fn markdown() -> String {
    let mut out =
        String::from("| Postgres | Parquet | AWS DMS documents | remark |\n|---|---|---|---|\n");
    for row in BUILT_IN {
        let parquet = match &row.rule {
            Rule::As(carried) => parquet_name(carried),
            Rule::Numeric => "DECIMAL(p,s) or STRING",
            Rule::Refused(_) => "refused",
        };
        out.push_str(&format!(
            "| `{}` | {parquet} | {} | {} |\n",
            row.name, row.dms, row.remark
        ));
    }
    out
}

fn parquet_name(carried: &Carried) -> &'static str {
    match carried {
        Carried::Boolean => "BOOLEAN",
        Carried::Int32 => "INT32",
        Carried::Int64 => "INT64",
        Carried::Float32 => "FLOAT",
        Carried::Float64 => "DOUBLE",
        Carried::Decimal { .. } => "DECIMAL",
        Carried::Date => "DATE",
        Carried::Timestamp => "TIMESTAMP(micros), local",
        Carried::TimestampUtc => "TIMESTAMP(micros), UTC",
        Carried::Binary => "BYTE_ARRAY",
        Carried::Text(_) | Carried::Array(_) => "STRING",
    }
}
