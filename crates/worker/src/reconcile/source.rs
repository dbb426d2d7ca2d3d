//! The source's side: Postgres's own text of every row, by COPY under a snapshot that others share.

use super::columns::Columns;
use super::compare::Side;
use super::progress::Meter;
use super::row::Row;
use super::rule::Rule;
use crate::failure::Failure;
use crate::secret::Secret;
use crate::source::{connect, failed, quoted, quoted_table};
use futures::TryStreamExt;
use pipeline::path::TableName;
use std::sync::Arc;
use tokio_postgres::Client;

/// A moment of the source, for as long as this value lives.
pub struct Snapshot {
    // Its transaction keeps the snapshot.
    _keeper: Client,
    name: String,
    /// All commits that the snapshot shows lie below this.
    pub lsn: u64,
    /// The source's clock.
    pub at: String,
}

/// Every commit that a snapshot shows was put into the log before, so the end of the log that is asked for afterwards
/// lies behind it; the end of what is on disk may not, with `synchronous_commit = off`.
const SNAPSHOT: &str =
    "SELECT pg_export_snapshot(), to_char(now(), 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')";
const LOG_END: &str = "SELECT (pg_current_wal_insert_lsn() - '0/0')::text";

impl Snapshot {
    pub async fn take(secret: &Secret) -> Result<Self, Failure> {
        let keeper = connect(secret).await?;
        let refused = |error| failed("no snapshot of the source can be taken", &error);
        begin(&keeper).await?;
        let row = keeper.query_one(SNAPSHOT, &[]).await.map_err(refused)?;
        let (name, at) = (row.get(0), row.get(1));
        let row = keeper.query_one(LOG_END, &[]).await.map_err(refused)?;
        let lsn: &str = row.get(0);
        Ok(Self {
            _keeper: keeper,
            name,
            lsn: lsn.parse().unwrap_or(u64::MAX),
            at,
        })
    }

    /// A connection that sees this moment.
    pub async fn join(&self, secret: &Secret) -> Result<Client, Failure> {
        let client = connect(secret).await?;
        begin(&client).await?;
        client
            .batch_execute(&format!("SET TRANSACTION SNAPSHOT '{}'", self.name))
            .await
            .map_err(|error| failed("the snapshot of the source cannot be shared", &error))?;
        Ok(client)
    }
}

async fn begin(client: &Client) -> Result<(), Failure> {
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .await
        .map_err(|error| failed("no transaction can be begun in the source", &error))
}

/// Rows of a table at the client's snapshot.
pub async fn count(client: &Client, table: &TableName) -> Result<u64, Failure> {
    let query = format!("SELECT count(*) FROM {}", quoted_table(table));
    let row = client
        .query_one(&query, &[])
        .await
        .map_err(|error| unreadable(table, &error))?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

fn unreadable(table: &TableName, error: &tokio_postgres::Error) -> Failure {
    failed(&format!("`{table}` of the source cannot be read"), error)
}

/// One table of the source.
pub struct SourceTable {
    pub client: Client,
    pub table: TableName,
    pub columns: Columns,
    pub meter: Arc<Meter>,
}

impl Side for SourceTable {
    async fn scan<V>(&self, mut visit: V) -> Result<(), Failure>
    where
        V: FnMut(&Row) + Send,
    {
        let names: Vec<String> = self
            .columns
            .columns
            .iter()
            .map(|column| quoted(&column.name))
            .collect();
        let copy = format!(
            "COPY (SELECT {} FROM {}) TO STDOUT",
            names.join(", "),
            quoted_table(&self.table)
        );
        let failed = |error| unreadable(&self.table, &error);
        let mut stream = std::pin::pin!(self.client.copy_out(&copy).await.map_err(failed)?);
        let mut parser = Parser::new(&self.columns);
        let mut rows = 0;
        while let Some(bytes) = stream.try_next().await.map_err(failed)? {
            parser
                .lines(&bytes, |row| {
                    visit(row);
                    rows += 1;
                })
                .map_err(|bad| bad.failure(&self.table, &self.columns))?;
            if rows >= METER_ROWS {
                self.meter.add_source(std::mem::take(&mut rows));
            }
        }
        self.meter.add_source(rows);
        Ok(())
    }
}

/// Told to the meter at once.
const METER_ROWS: u64 = 4096;

/// What the server sent is not what was asked for.
struct BadCell {
    column: usize,
}

impl BadCell {
    fn failure(&self, table: &TableName, columns: &Columns) -> Failure {
        let column = columns.columns.get(self.column);
        let name = column.map_or("after the last one", |column| column.name.as_str());
        Failure::new(
            "SourceFailed",
            format!(
                "`{table}` of the source holds a text that is not understood, in column `{name}`"
            ),
        )
    }
}

/// Lines of COPY in text form.
struct Parser {
    rules: Vec<Rule>,
    key: usize,
    row: Row,
    /// The beginning of a line whose end is to come.
    begun: Vec<u8>,
    plain: Vec<u8>,
}

impl Parser {
    fn new(columns: &Columns) -> Self {
        Self {
            rules: columns.columns.iter().map(|column| column.rule).collect(),
            key: columns.key,
            row: Row::default(),
            begun: Vec::new(),
            plain: Vec::new(),
        }
    }

    /// Shows the rows whose lines end in `bytes`.
    fn lines(&mut self, mut bytes: &[u8], mut visit: impl FnMut(&Row)) -> Result<(), BadCell> {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            if self.begun.is_empty() {
                self.line(&bytes[..end])?;
            } else {
                let mut whole = std::mem::take(&mut self.begun);
                whole.extend_from_slice(&bytes[..end]);
                self.line(&whole)?;
            }
            visit(&self.row);
            bytes = &bytes[end + 1..];
        }
        self.begun.extend_from_slice(bytes);
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), BadCell> {
        self.row.clear();
        let mut cells = line.split(|&byte| byte == b'\t');
        for (column, rule) in self.rules.iter().enumerate() {
            let bad = |_| BadCell { column };
            match cells.next() {
                None => return Err(BadCell { column }),
                Some(b"\\N") => self.row.null(),
                Some(cell) if !cell.contains(&b'\\') => {
                    self.row.cell(|out| rule.write(cell, out)).map_err(bad)?;
                }
                Some(cell) => {
                    self.plain.clear();
                    unescape(cell, &mut self.plain);
                    let plain = &self.plain;
                    self.row.cell(|out| rule.write(plain, out)).map_err(bad)?;
                }
            }
            if column + 1 == self.key {
                self.row.end_key();
            }
        }
        match cells.next() {
            None => Ok(()),
            Some(_) => Err(BadCell {
                column: self.rules.len(),
            }),
        }
    }
}

/// COPY writes a backslash before what would end a cell or a line, and letters for the usual control characters.
fn unescape(cell: &[u8], out: &mut Vec<u8>) {
    let mut bytes = cell.iter();
    while let Some(&byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'b') => 8,
                Some(b't') => b'\t',
                Some(b'n') => b'\n',
                Some(b'v') => 11,
                Some(b'f') => 12,
                Some(b'r') => b'\r',
                Some(&other) => other,
                None => b'\\',
            },
            _ => byte,
        });
    }
}
