//! What the stream says of a table before its changes.

use super::buffer::{Buffer, Shape, ShapeColumn};
use super::setting::Setting;
use super::slot::HEARTBEAT;
use crate::failure::Failure;
use crate::source::type_facts;
use crate::types;
use pg_walstream::protocol::{ColumnInfo, TupleData};
use pipeline::path::TableName;
use tokio_postgres::Client;

/// `relreplident` of a table whose changes carry the whole row before them.
const IDENTITY_FULL: u8 = b'f';

/// What becomes of the changes of a relation.
pub enum Relation {
    Followed(Buffer),
    Heartbeat(HeartbeatColumns),
    /// It cannot be carried, and why.
    Refused {
        table: TableName,
        reason: String,
    },
}

pub struct HeartbeatColumns {
    slot: usize,
    beat: usize,
    flush: usize,
}

/// A beat that came by the stream.
pub struct Counted {
    pub beat: u64,
    pub flush: bool,
}

impl HeartbeatColumns {
    fn of(columns: &[ColumnInfo]) -> Option<Self> {
        let place = |name: &str| columns.iter().position(|column| &*column.name == name);
        Some(Self {
            slot: place("slot")?,
            beat: place("beat")?,
            flush: place("flush")?,
        })
    }

    /// `None` when another capture of this database counted.
    pub fn counted(&self, row: &TupleData, slot: &str) -> Option<Counted> {
        let text = |index: usize| row.get_column(index).and_then(|value| value.as_str());
        if text(self.slot)? != slot {
            return None;
        }
        Some(Counted {
            beat: text(self.beat)?.parse().ok()?,
            flush: text(self.flush)? == "t",
        })
    }
}

/// Reads a relation message; asks the catalogue for its types.
pub async fn read(
    client: &Client,
    setting: &Setting,
    table: TableName,
    identity: u8,
    columns: &[ColumnInfo],
) -> Result<Relation, Failure> {
    if (table.schema.as_str(), table.table.as_str()) == HEARTBEAT
        && let Some(columns) = HeartbeatColumns::of(columns)
    {
        return Ok(Relation::Heartbeat(columns));
    }
    let mut names = columns.iter().map(|column| &*column.name);
    if let Some(name) = names.find(|name| types::lake_column(name).is_some()) {
        let reason =
            format!("it has a column `{name}`, which is what the lake calls one of its own");
        return Ok(Relation::Refused { table, reason });
    }
    let wanted: Vec<(u32, i32)> = columns
        .iter()
        .map(|column| (column.type_id, column.type_modifier))
        .collect();
    let facts = type_facts(client, &wanted).await?;
    let record_key = setting
        .wanted(&table)
        .map_or(&[][..], |wanted| &wanted.primary_key);
    let mut shape = Vec::with_capacity(columns.len());
    for (column, facts) in columns.iter().zip(&facts) {
        let name = column.name.to_string();
        match types::carried(facts) {
            Ok(carried) => shape.push(ShapeColumn {
                carried,
                key: identity != IDENTITY_FULL && column.is_key(),
                // As long as it is not known, each column may be of it.
                record_key: record_key.is_empty() || record_key.contains(&name),
                name,
            }),
            Err(refused) => {
                let reason = format!(
                    "column `{name}` has a type that cannot be carried: `{}`, {refused}",
                    facts.name
                );
                return Ok(Relation::Refused { table, reason });
            }
        }
    }
    Ok(Relation::Followed(Buffer::new(Shape {
        table,
        columns: shape,
    })))
}
