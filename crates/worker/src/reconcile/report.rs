//! What a reconciliation says: as JSON, and for people.

use super::columns::Columns;
use super::compare::{Comparison, Difference, Kind, Total};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt::Write;

#[derive(Debug, Serialize)]
pub struct Report {
    pub identifier: String,
    /// Whether every value was compared, or only rows were counted.
    pub deep: bool,
    pub tables: Vec<TableReport>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableReport {
    pub name: String,
    pub status: Status,
    /// Rows that were read; `None` when the table was not compared.
    pub rows_source: Option<u64>,
    pub rows_silver: Option<u64>,
    pub differences_total: u64,
    /// So many rows differ that not all of them were told apart: there may be more.
    pub differences_at_least: bool,
    /// The first of them.
    pub differences: Vec<Named>,
    pub reason: Option<String>,
    pub hint: Option<String>,
    /// What was not compared.
    pub notes: Vec<String>,
    /// The source's clock at the snapshot that silver was compared with.
    pub at: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Equal,
    Different,
    NotComparable,
}

/// A key whose rows differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    pub kind: &'static str,
    /// The key's columns and their texts.
    pub key: Map<String, Value>,
    /// Of a row that is on both sides: what differs in it.
    pub columns: Vec<NamedColumn>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedColumn {
    pub name: String,
    /// As Postgres prints it, shortened; `None`: NULL.
    pub source: Option<String>,
    pub silver: Option<String>,
}

impl Report {
    pub fn all_equal(&self) -> bool {
        self.tables
            .iter()
            .all(|table| table.status == Status::Equal)
    }
}

impl TableReport {
    /// Before anything was compared.
    pub fn not_comparable(name: &str, reason: String, hint: Option<String>) -> Self {
        Self {
            name: name.to_owned(),
            status: Status::NotComparable,
            rows_source: None,
            rows_silver: None,
            differences_total: 0,
            differences_at_least: false,
            differences: Vec::new(),
            reason: Some(reason),
            hint,
            notes: Vec::new(),
            at: None,
        }
    }

    /// After every value was compared.
    pub fn deep(name: &str, columns: &Columns, found: Comparison) -> Self {
        let (total, at_least) = match found.total {
            Total::Exactly(total) => (total, false),
            Total::AtLeast(total) => (total, true),
        };
        let absent = columns.absent();
        // A table without rows has no columns either.
        let lacks_columns = !absent.is_empty() && found.rows_silver > 0;
        Self {
            name: name.to_owned(),
            status: if total == 0 && !lacks_columns {
                Status::Equal
            } else {
                Status::Different
            },
            rows_source: Some(found.rows_source),
            rows_silver: Some(found.rows_silver),
            differences_total: total,
            differences_at_least: at_least,
            differences: found.named.iter().map(|row| named(columns, row)).collect(),
            reason: lacks_columns
                .then(|| format!("silver has no column {}", pipeline::value::list(&absent))),
            hint: None,
            notes: Vec::new(),
            at: None,
        }
    }

    /// After rows were counted.
    pub fn counts(name: &str, source: u64, silver: &Counts) -> Self {
        let duplicated = silver.rows - silver.keys;
        let total = source.abs_diff(silver.keys) + duplicated;
        let reason = match (duplicated, silver.keys_unknown) {
            (0, false) => None,
            (0, true) => Some("repeated keys were not looked for in all rows".to_owned()),
            (rows, _) => Some(format!("{rows} rows of silver repeat a key")),
        };
        Self {
            name: name.to_owned(),
            status: if total == 0 {
                Status::Equal
            } else {
                Status::Different
            },
            rows_source: Some(source),
            rows_silver: Some(silver.rows),
            differences_total: total,
            differences_at_least: total > 0,
            differences: Vec::new(),
            reason,
            hint: (total > 0).then(|| "`--deep` names the rows".to_owned()),
            notes: Vec::new(),
            at: None,
        }
    }
}

/// Rows of silver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub rows: u64,
    /// Different keys among them, as far as they were held.
    pub keys: u64,
    /// There were too many to hold.
    pub keys_unknown: bool,
}

fn named(columns: &Columns, difference: &Difference) -> Named {
    let row = difference.source.first().or(difference.silver.first());
    let cells = row.map(Vec::as_slice).unwrap_or_default();
    let key = columns.columns.iter().zip(cells).take(columns.key);
    Named {
        kind: match difference.kind {
            Kind::Missing => "missing",
            Kind::Extra => "extra",
            Kind::Different => "different",
            Kind::Duplicated => "duplicated",
        },
        key: key
            .map(|(column, cell)| (column.name.clone(), Value::from(cell.clone())))
            .collect(),
        columns: match (difference.source.first(), difference.silver.first()) {
            (Some(source), Some(silver)) => differing(columns, source, silver),
            _ => Vec::new(),
        },
    }
}

fn differing(
    columns: &Columns,
    source: &[Option<String>],
    silver: &[Option<String>],
) -> Vec<NamedColumn> {
    let cells = source.iter().zip(silver);
    columns
        .columns
        .iter()
        .zip(cells)
        .filter(|(_, (source, silver))| source != silver)
        .map(|(column, (source, silver))| {
            let skipped = match (source, silver) {
                (Some(source), Some(silver)) => common_prefix(source, silver),
                _ => 0,
            };
            NamedColumn {
                name: column.name.clone(),
                source: source.as_deref().map(|text| shortened(text, skipped)),
                silver: silver.as_deref().map(|text| shortened(text, skipped)),
            }
        })
        .collect()
}

/// Characters of a value that are shown.
const SHOWN_MAX: usize = 80;
/// Of them before the first one that differs.
const SHOWN_BEFORE: usize = 20;

fn common_prefix(left: &str, right: &str) -> usize {
    left.chars()
        .zip(right.chars())
        .take_while(|(left, right)| left == right)
        .count()
}

/// A long text around the place where it begins to differ.
fn shortened(text: &str, differs_at: usize) -> String {
    let length = text.chars().count();
    if length <= SHOWN_MAX {
        return text.to_owned();
    }
    let from = differs_at.saturating_sub(SHOWN_BEFORE);
    let shown: String = text.chars().skip(from).take(SHOWN_MAX).collect();
    let before = if from > 0 { "…" } else { "" };
    let after = if from + SHOWN_MAX < length { "…" } else { "" };
    format!("{before}{shown}{after}")
}

/// For people: a line per table, then what differs and what could not be compared.
pub fn text(report: &Report) -> String {
    let mut lines = vec![[
        "TABLE".to_owned(),
        "STATUS".to_owned(),
        "SOURCE".to_owned(),
        "SILVER".to_owned(),
        "DIFFERENCES".to_owned(),
    ]];
    lines.extend(report.tables.iter().map(cells));
    let widths: [usize; 5] = std::array::from_fn(|column| {
        let widths = lines.iter().map(|line| line[column].chars().count());
        widths.max().unwrap_or(0)
    });
    let mut out = String::new();
    for [name, status, source, silver, differences] in &lines {
        let [w0, w1, w2, w3, w4] = widths;
        // Writing to memory cannot fail.
        let _ = writeln!(
            out,
            "{name:w0$}  {status:w1$}  {source:>w2$}  {silver:>w3$}  {differences:>w4$}"
        );
    }
    for table in &report.tables {
        explain(table, &mut out);
    }
    out
}

fn cells(table: &TableReport) -> [String; 5] {
    let count = |rows: Option<u64>| rows.map_or("-".to_owned(), |rows| rows.to_string());
    let at_least = if table.differences_at_least { ">=" } else { "" };
    [
        table.name.clone(),
        match table.status {
            Status::Equal => "equal",
            Status::Different => "different",
            Status::NotComparable => "not comparable",
        }
        .to_owned(),
        count(table.rows_source),
        count(table.rows_silver),
        match table.rows_source {
            None => "-".to_owned(),
            Some(_) => format!("{at_least}{}", table.differences_total),
        },
    ]
}

fn explain(table: &TableReport, out: &mut String) {
    if table.reason.is_none() && table.differences_total == 0 && table.notes.is_empty() {
        return;
    }
    let reason = match &table.reason {
        Some(reason) => format!(": {reason}"),
        None => String::new(),
    };
    let _ = writeln!(out, "\n`{}`{reason}", table.name);
    for difference in &table.differences {
        let _ = writeln!(out, "  {} {}", difference.kind, key(&difference.key));
        for column in &difference.columns {
            let [source, silver] = [&column.source, &column.silver].map(value);
            let _ = writeln!(
                out,
                "    `{}`: source {source}, silver {silver}",
                column.name
            );
        }
    }
    let more = table.differences_total - table.differences.len() as u64;
    if more > 0 && !table.differences.is_empty() {
        let at_least = if table.differences_at_least {
            "at least "
        } else {
            ""
        };
        let _ = writeln!(out, "  and {at_least}{more} more");
    }
    for note in &table.notes {
        let _ = writeln!(out, "  {note}");
    }
    if let Some(hint) = &table.hint {
        let _ = writeln!(out, "  hint: {hint}");
    }
}

fn key(key: &Map<String, Value>) -> String {
    let parts: Vec<String> = key
        .iter()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or("NULL")))
        .collect();
    parts.join(", ")
}

fn value(text: &Option<String>) -> String {
    match text {
        Some(text) => format!("`{}`", text.escape_debug()),
        None => "NULL".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report() -> Report {
        let equal = TableReport::counts(
            "public.items",
            12_000,
            &Counts {
                rows: 12_000,
                keys: 12_000,
                keys_unknown: false,
            },
        );
        let different = TableReport {
            status: Status::Different,
            rows_source: Some(3),
            rows_silver: Some(3),
            differences_total: 12,
            differences: vec![Named {
                kind: "different",
                key: Map::from_iter([("id".to_owned(), json!("7"))]),
                columns: vec![NamedColumn {
                    name: "note".to_owned(),
                    source: Some("a\tb".to_owned()),
                    silver: None,
                }],
            }],
            reason: None,
            ..TableReport::not_comparable("public.orders", String::new(), None)
        };
        let hint = Some("headwater run".to_owned());
        let unseeded =
            TableReport::not_comparable("public.stock", "it was never seeded".to_owned(), hint);
        Report {
            identifier: "shop".to_owned(),
            deep: true,
            tables: vec![equal, different, unseeded],
        }
    }

    #[test]
    fn people_see_a_table_then_what_differs_and_what_helps() {
        let expected = "\
TABLE          STATUS          SOURCE  SILVER  DIFFERENCES
public.items   equal            12000   12000            0
public.orders  different            3       3           12
public.stock   not comparable       -       -            -

`public.orders`
  different id=7
    `note`: source `a\\tb`, silver NULL
  and 11 more

`public.stock`: it was never seeded
  hint: headwater run
";
        assert_eq!(text(&report()), expected);
    }

    #[test]
    fn programs_see_every_difference_with_its_key_and_columns() {
        let tables = serde_json::to_value(report()).unwrap()["tables"].clone();
        assert_eq!(tables[0]["status"], "equal");
        assert_eq!(tables[2]["status"], "not_comparable");
        let expected = json!({"name": "public.orders", "status": "different", "rows_source": 3, "rows_silver": 3,
            "differences_total": 12, "differences_at_least": false, "reason": null, "hint": null, "notes": [], "at": null,
            "differences": [{"kind": "different", "key": {"id": "7"},
                "columns": [{"name": "note", "source": "a\tb", "silver": null}]}]});
        assert_eq!(tables[1], expected);
    }

    #[test]
    fn a_long_value_is_shown_around_the_place_where_it_differs() {
        let (left, right) = ("x".repeat(500) + "left", "x".repeat(500) + "right");
        let at = common_prefix(&left, &right);
        assert_eq!(shortened(&left, at), format!("…{}left", "x".repeat(20)));
        assert_eq!(shortened(&right, 0), format!("{}…", "x".repeat(80)));
        assert_eq!(shortened("short", 3), "short");
    }
}
