//! The lake of a home folder: the published generation of a table, at the position that its record names.

use super::rounds::Lake;
use super::silver::Batches;
use crate::failure::Failure;
use crate::hudi::{self, HudiTable};
use crate::store;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use futures::Stream;
use pipeline::path::{PUBLISHED_FILE, segment};
use pipeline::plan::TableWork;
use pipeline::position::{Position, Published};
use std::sync::Arc;

pub struct Silver;

impl Lake for Silver {
    async fn open(
        &self,
        table: &TableWork,
        position: &Position,
    ) -> Result<(SchemaRef, impl Batches), Failure> {
        let generation = published(table)?;
        let seeded = position.seed.as_ref();
        if seeded.is_none_or(|seed| generation != format!("g={}", segment(&seed.run_id))) {
            return Err(Failure::new(
                "PositionMoved",
                format!(
                    "the published generation of `{}` is not that of its position: `{generation}`",
                    table.target_table
                ),
            ));
        }
        let folder = store::path(&format!("{}/{generation}", table.silver))?;
        let opened = hudi::open(&folder).await?;
        let schema = match opened.newest_instant() {
            Some(_) => opened.schema().await?,
            // A table without commits does not know its columns.
            None => Arc::new(Schema::empty()),
        };
        Ok((schema, Generation(opened)))
    }
}

/// The generation that readers of a table read.
fn published(table: &TableWork) -> Result<String, Failure> {
    let uri = format!("{}/{PUBLISHED_FILE}", table.silver);
    let unreadable = |error: &(dyn std::error::Error + 'static)| {
        let message = format!(
            "nothing says which generation of `{}` to read",
            table.target_table
        );
        Failure::new("NotPublished", message).caused_by(error)
    };
    let bytes = std::fs::read(store::path(&uri)?).map_err(|error| unreadable(&error))?;
    let published: Published =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
    Ok(published.generation)
}

/// One generation, as it was when it was opened.
struct Generation(HudiTable);

impl Batches for Generation {
    async fn read(
        &self,
        columns: &[String],
    ) -> Result<impl Stream<Item = Result<RecordBatch, Failure>> + Send, Failure> {
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        self.0.read(Some(&columns)).await
    }
}
