//! Silver's side: batches of a table, each value printed as Postgres prints it.

use super::columns::Columns;
use super::compare::Side;
use super::printed::Column;
use super::progress::Meter;
use super::row::Row;
use crate::failure::Failure;
use arrow::array::RecordBatch;
use futures::{Stream, TryStreamExt};
use std::convert::Infallible;
use std::sync::Arc;

/// A table that can be read again and again, the same each time.
pub trait Batches: Send + Sync + 'static {
    /// All rows, with these columns at least as far as the table has them.
    fn read(
        &self,
        columns: &[String],
    ) -> impl Future<
        Output = Result<impl Stream<Item = Result<RecordBatch, Failure>> + Send, Failure>,
    > + Send;
}

/// One table of silver.
pub struct SilverTable<B> {
    pub batches: B,
    pub columns: Columns,
    pub meter: Arc<Meter>,
}

impl<B: Batches> Side for SilverTable<B> {
    async fn scan<V>(&self, mut visit: V) -> Result<(), Failure>
    where
        V: FnMut(&Row) + Send,
    {
        let present = self.columns.columns.iter();
        let names: Vec<String> = present
            .filter(|column| column.lake.is_some())
            .map(|column| column.name.clone())
            .collect();
        let mut batches = std::pin::pin!(self.batches.read(&names).await?);
        let mut row = Row::default();
        while let Some(batch) = batches.try_next().await? {
            let columns = columns(&batch, &self.columns)?;
            for at in 0..batch.num_rows() {
                fill(&mut row, &columns, self.columns.key, at);
                visit(&row);
            }
            self.meter.add_silver(batch.num_rows() as u64);
        }
        Ok(())
    }
}

fn columns(batch: &RecordBatch, columns: &Columns) -> Result<Vec<Column>, Failure> {
    columns
        .columns
        .iter()
        .map(|column| match batch.column_by_name(&column.name) {
            Some(array) => Column::new(&column.name, array, &column.source, column.rule),
            None => Ok(Column::Absent),
        })
        .collect()
}

#[inline]
fn fill(row: &mut Row, columns: &[Column], key: usize, at: usize) {
    row.clear();
    for (number, column) in columns.iter().enumerate() {
        let Ok(()) = row.cell(|out| Ok::<_, Infallible>(column.write(at, out)));
        if number + 1 == key {
            row.end_key();
        }
    }
}
