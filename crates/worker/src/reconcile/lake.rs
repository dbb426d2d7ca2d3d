//! The lake of a home folder: the published generation of a table, at the position that its record names.

use super::rounds::Lake;
use super::silver::Batches;
use crate::failure::Failure;
use crate::hudi::{self, HudiTable};
use crate::silver::published;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::Stream;
use pipeline::plan::TableWork;
use pipeline::position::Position;

pub struct Silver;

impl Lake for Silver {
    async fn open(
        &self,
        table: &TableWork,
        position: &Position,
    ) -> Result<(SchemaRef, impl Batches), Failure> {
        let folder = published(table, position)?.ok_or_else(|| {
            Failure::new(
                "NotSeeded",
                format!("`{}` was never seeded", table.target_table),
            )
            .hint(table.reload())
        })?;
        let opened = hudi::open(&folder).await?;
        let schema = opened.schema().await?;
        Ok((schema, Generation(opened)))
    }
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
