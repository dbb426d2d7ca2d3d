//! The snapshot that all connections of a load share, and the connection that keeps it.

use super::reading::From;
use crate::failure::Failure;
use crate::secret::Secret;
use crate::source::{Reach, Table, connect, failed};
use pipeline::time::Timestamp;
use tokio_postgres::Client;

/// An exported snapshot; it ends with this.
pub struct Snapshot {
    pub client: Client,
    /// The name under which other connections import it.
    pub id: String,
    /// `pg_current_snapshot()` inside.
    pub text: String,
    /// Source clock right after the export.
    pub taken: Timestamp,
    pub wal_lsn: String,
}

/// Begins a transaction that sees one state and writes nothing.
pub const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

impl Snapshot {
    /// Exports a snapshot, and keeps the table from being altered until it ends.
    pub async fn export(secret: &Secret, table: &Table, from: &From) -> Result<Self, Failure> {
        let client = connect(secret).await?;
        from.prepare(&client).await?;
        let what = format!("a snapshot of `{}` cannot be taken", table.name);
        let failed = |error| failed(&what, &error);
        client.batch_execute(BEGIN).await.map_err(failed)?;
        let row = client
            .query_one(
                "SELECT pg_export_snapshot(), pg_current_snapshot()::text, floor(extract(epoch FROM clock_timestamp()) * 1000)::int8,
                   CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text",
                &[],
            )
            .await
            .map_err(failed)?;
        // Planning alone locks the table and its partitions, whatever kind it is.
        client
            .batch_execute(&format!("{} LIMIT 0", from.select("")))
            .await
            .map_err(failed)?;
        Ok(Self {
            id: row.get(0),
            text: row.get(1),
            taken: Timestamp(row.get(2)),
            wal_lsn: row.get(3),
            client,
        })
    }

    /// The rows that there are, counted by the server while they are copied; the table is in memory then, if it ever is. `None`
    /// where a second look may rightly differ: a view may be of the moment, a foreign partition has no part in the snapshot.
    pub async fn count(&self, table: &Table, from: &From) -> Result<Option<u64>, Failure> {
        if !is_comparable(table) {
            return Ok(None);
        }
        let counts = self.counts(table, from, &["true".to_owned()]).await?;
        Ok(counts.first().copied())
    }

    /// The rows for which each of these conditions holds.
    pub async fn counts(
        &self,
        table: &Table,
        from: &From,
        conditions: &[String],
    ) -> Result<Vec<u64>, Failure> {
        let counts: Vec<String> = conditions
            .iter()
            .map(|condition| format!("count(*) FILTER (WHERE {condition})"))
            .collect();
        let row = self
            .client
            .query_one(&from.select(&counts.join(", ")), &[])
            .await;
        let row = row.map_err(|error| {
            failed(
                &format!("the rows of `{}` cannot be counted", table.name),
                &error,
            )
        })?;
        Ok((0..conditions.len())
            .map(|at| row.get::<_, i64>(at).unsigned_abs())
            .collect())
    }
}

/// Whether a second look at the rows under one snapshot sees the same.
pub fn is_comparable(table: &Table) -> bool {
    match &table.reach {
        Reach::Whole => false,
        Reach::Pages(parts) => parts.iter().all(|part| part.pages.is_some()),
    }
}
