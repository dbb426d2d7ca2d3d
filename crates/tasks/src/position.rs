//! Position records: read and written by the worker only.

use crate::error::TaskError;
use crate::port::{Ledger, WriteError};
use crate::record::{self, Versioned};
use pipeline::position::Position;

/// The position record of a logical silver table.
pub async fn read(
    ledger: &impl Ledger,
    silver: &str,
) -> Result<Option<Versioned<Position>>, TaskError> {
    record::get(ledger, &record::position(silver)).await
}

/// Writes it if nobody else did since it was read; gives the record as it is now.
pub async fn write(
    ledger: &impl Ledger,
    silver: &str,
    read: Option<&Versioned<Position>>,
    position: &Position,
) -> Result<Versioned<Position>, WriteError> {
    let key = record::position(silver);
    ledger
        .write(&[record::upsert(key.clone(), read, position)])
        .await?;
    let version = read.map_or(1, |record| record.version + 1);
    Ok(Versioned {
        key,
        version,
        value: position.clone(),
    })
}
