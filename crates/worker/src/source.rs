//! The source database as the load sees it: connections whose session is explicit, and what the catalogue says of a table.

mod catalogue;
mod connect;

pub use catalogue::{Column, Reach, Stored, Table, table, type_facts};
pub use connect::{SESSION, connect, connect_through, failed};

use pipeline::path::TableName;

/// An identifier in SQL.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table in SQL, with its schema.
pub fn quoted_table(name: &TableName) -> String {
    format!("{}.{}", quoted(&name.schema), quoted(&name.table))
}
