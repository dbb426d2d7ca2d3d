//! Where everything lies in the lake. No other module joins path segments.
//!
//! A URI here is a scheme and a raw path (`s3://bucket/key`, `file:///folder/file`): names are not
//! percent-encoded, except `/` and `%` and control characters inside a name, so that a name stays one segment.

use serde::{Deserialize, Serialize};

/// The base URIs of one identifier, each without a trailing `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zones {
    pub bronze: String,
    pub silver: String,
    pub gold: String,
    /// Plans, work lists and logs of runs.
    pub runtime: String,
}

/// A table of the source database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableName {
    pub schema: String,
    pub table: String,
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// The file that makes a load exist.
pub const MANIFEST_FILE: &str = "_manifest.json";
/// The pointer file of a silver table: which generation readers read.
pub const PUBLISHED_FILE: &str = "_published.json";
/// What our own capture says of itself, beside its change files.
pub const CAPTURE_FILE: &str = "_capture.json";

impl Zones {
    /// `<bronze>/full/<db>/<schema>/<table>`: all loads of a table.
    pub fn loads(&self, db: &str, name: &TableName) -> String {
        format!("{}/full/{}", self.bronze, table_segments(db, name))
    }

    /// `<bronze>/full/<db>/<schema>/<table>/run=<run_id>`: one load of a table.
    pub fn load(&self, db: &str, name: &TableName, run_id: &str) -> String {
        format!("{}/run={}", self.loads(db, name), segment(run_id))
    }

    /// `<bronze>/incremental/<db>`: what capture writes for one database.
    pub fn changes_root(&self, db: &str) -> String {
        format!("{}/incremental/{}", self.bronze, segment(db))
    }

    /// `<bronze>/incremental/<db>/<schema>/<table>`: change files of a table, at any depth below.
    pub fn changes(&self, db: &str, name: &TableName) -> String {
        format!("{}/incremental/{}", self.bronze, table_segments(db, name))
    }

    /// `<silver>/<target table>`: the logical table; locks and positions are on this path.
    pub fn silver_table(&self, target_table: &str) -> String {
        format!("{}/{}", self.silver, segment(target_table))
    }

    /// `<silver>/<target table>/g=<run_id>`: one generation, a Hudi table of its own.
    pub fn silver_generation(&self, target_table: &str, run_id: &str) -> String {
        format!("{}/g={}", self.silver_table(target_table), segment(run_id))
    }

    /// `<runtime>/runs/<run_id>/<name>`
    pub fn run_file(&self, run_id: &str, name: &str) -> String {
        format!("{}/runs/{}/{}", self.runtime, segment(run_id), name)
    }
}

fn table_segments(db: &str, name: &TableName) -> String {
    format!(
        "{}/{}/{}",
        segment(db),
        segment(&name.schema),
        segment(&name.table)
    )
}

/// One path segment: a name with `/`, `%` and control characters encoded, and `.` and `..` kept from meaning a folder.
pub fn segment(name: &str) -> String {
    if name == "." || name == ".." {
        return name.replace('.', "%2E");
    }
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '/' | '%' => out.push_str(&format!("%{:02X}", c as u32)),
            c if c.is_control() => out.push_str(&format!("%{:02X}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_stay_one_segment() {
        for (name, expected) in [
            ("order line", "order line"),
            ("Orders.2026", "Orders.2026"),
            ("a/b", "a%2Fb"),
            ("100%", "100%25"),
            ("..", "%2E%2E"),
            ("tab\there", "tab%09here"),
        ] {
            assert_eq!(segment(name), expected);
        }
    }
}
