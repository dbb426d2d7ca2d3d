//! The ledger: versioned records, and transactions that happen only if every expectation holds.

use crate::{Local, kill, port_error};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use serde_json::Value;
use tasks::limits;
use tasks::port::{
    Change, Expect, Ledger, LedgerEntry, LedgerKey, LedgerWrite, PortError, WriteError,
};

impl Ledger for Local {
    async fn get(&self, key: &LedgerKey) -> Result<Option<LedgerEntry>, PortError> {
        let found = self
            .database()
            .prepare_cached("SELECT partition, sort, version, body FROM ledger WHERE partition = ?1 AND sort = ?2")
            .and_then(|mut statement| {
                statement
                    .query_row(params![key.partition, key.sort], row)
                    .optional()
            })
            .map_err(port_error)?;
        found.map(entry).transpose()
    }

    async fn list(
        &self,
        partition: &str,
        sort_prefix: &str,
    ) -> Result<Vec<LedgerEntry>, PortError> {
        let rows = {
            let database = self.database();
            let mut statement = database
                .prepare_cached(
                    "SELECT partition, sort, version, body FROM ledger
                     WHERE partition = ?1 AND sort >= ?2 AND substr(sort, 1, length(?2)) = ?2 ORDER BY sort",
                )
                .map_err(port_error)?;
            statement
                .query_map(params![partition, sort_prefix], row)
                .and_then(|rows| rows.collect::<rusqlite::Result<Vec<_>>>())
                .map_err(port_error)?
        };
        rows.into_iter().map(entry).collect()
    }

    async fn write(&self, writes: &[LedgerWrite]) -> Result<(), WriteError> {
        limits::check_writes("SQLite", writes)?;
        kill::point_with(|| format!("ledger.before.{}", kind(&writes[0].key)));
        let conflict = apply(&mut self.database(), writes).map_err(port_error)?;
        kill::point_with(|| format!("ledger.after.{}", kind(&writes[0].key)));
        match conflict {
            Some(key) => Err(WriteError::Conflict(key)),
            None => Ok(()),
        }
    }
}

impl Local {
    /// The partitions whose names begin so, in order.
    pub fn partitions(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        let database = self.database();
        let mut statement = database
            .prepare_cached(
                "SELECT DISTINCT partition FROM ledger
                 WHERE partition >= ?1 AND substr(partition, 1, length(?1)) = ?1 ORDER BY partition",
            )
            .map_err(port_error)?;
        statement
            .query_map([prefix], |row| row.get(0))
            .and_then(Iterator::collect)
            .map_err(port_error)
    }
}

/// Writes all, or nothing and the first key whose expectation did not hold.
fn apply(
    connection: &mut Connection,
    writes: &[LedgerWrite],
) -> rusqlite::Result<Option<LedgerKey>> {
    // Immediate: a transaction that reads before it writes must not be overtaken in between.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for write in writes {
        if !apply_one(&transaction, write)? {
            return Ok(Some(write.key.clone()));
        }
    }
    transaction.commit()?;
    Ok(None)
}

/// `false` when the expectation does not hold.
fn apply_one(connection: &Connection, write: &LedgerWrite) -> rusqlite::Result<bool> {
    let LedgerKey { partition, sort } = &write.key;
    let version: Option<i64> = connection
        .prepare_cached("SELECT version FROM ledger WHERE partition = ?1 AND sort = ?2")?
        .query_row(params![partition, sort], |row| row.get(0))
        .optional()?;
    let holds = match write.expect {
        Expect::Absent => version.is_none(),
        Expect::Version(expected) => version == i64::try_from(expected).ok(),
    };
    if !holds {
        return Ok(false);
    }
    match &write.change {
        Change::Put(body) => {
            connection
                .prepare_cached("INSERT OR REPLACE INTO ledger (partition, sort, version, body) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![partition, sort, version.unwrap_or(0) + 1, body.to_string()])?;
        }
        Change::Delete => {
            connection
                .prepare_cached("DELETE FROM ledger WHERE partition = ?1 AND sort = ?2")?
                .execute(params![partition, sort])?;
        }
        Change::Check => {}
    }
    Ok(true)
}

type Columns = (String, String, i64, String);

fn row(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn entry((partition, sort, version, body): Columns) -> Result<LedgerEntry, PortError> {
    let key = LedgerKey { partition, sort };
    let body: Value = serde_json::from_str(&body).map_err(|error| PortError::Refused {
        service: "SQLite",
        message: format!("ledger record `{key}` is not JSON: {error}"),
    })?;
    Ok(LedgerEntry {
        key,
        version: version.unsigned_abs(),
        body,
    })
}

/// What kind of record a key is of: `admission`, `run/claim`. Kill points are named by it.
fn kind(key: &LedgerKey) -> String {
    let before = |text: &str| text.split('#').next().unwrap_or_default().to_owned();
    let partition = before(&key.partition);
    let sort = before(&key.sort);
    let one_record_per_name =
        partition == key.partition || sort.starts_with(|c: char| c.is_ascii_digit());
    if one_record_per_name {
        partition
    } else {
        format!("{partition}/{sort}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_apart_by_kind_and_not_by_name() {
        for (partition, sort, expected) in [
            ("admission", "tpcc", "admission"),
            ("run#tpcc-load-1", "run", "run/run"),
            ("steps#tpcc-load-1", "claim#00001#001", "steps/claim"),
            ("runs#tpcc", "000001#tpcc-load-1", "runs"),
            ("position", "file:///lake/silver/tpcc/orders", "position"),
        ] {
            let key = LedgerKey {
                partition: partition.to_owned(),
                sort: sort.to_owned(),
            };
            assert_eq!(kind(&key), expected);
        }
    }
}
