//! Rows of a binary COPY into batches.

use super::files::Files;
use super::tap::Sink;
use crate::failure::Failure;
use crate::types::{BadValue, Carried, ColumnBuilder};
use pipeline::path::TableName;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc::UnboundedSender;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags, and the length of what follows them.
const HEADER_BYTES: usize = 19;

/// The failure of a connection that ends because another one failed.
pub const STOPPED: &str = "Stopped";

/// How much is kept before it is encoded.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    pub rows: usize,
    pub bytes: usize,
}

/// Rows and bytes that were read.
pub type Read = (u64, u64);

/// Takes the rows of one connection.
pub struct Rows {
    table: Arc<TableName>,
    names: Vec<String>,
    columns: Vec<ColumnBuilder>,
    limits: BatchLimits,
    /// Of the batch under way.
    rows: usize,
    bytes: usize,
    /// Of all batches.
    rows_taken: u64,
    in_copy: bool,
    files: Files,
    told: UnboundedSender<Read>,
    stop: Arc<AtomicBool>,
}

impl Rows {
    pub fn new(
        table: Arc<TableName>,
        columns: &[(String, Carried)],
        limits: BatchLimits,
        files: Files,
        told: UnboundedSender<Read>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self {
            table,
            names: columns.iter().map(|(name, _)| name.clone()).collect(),
            columns: columns
                .iter()
                .map(|(_, carried)| ColumnBuilder::new(carried))
                .collect(),
            limits,
            rows: 0,
            bytes: 0,
            rows_taken: 0,
            in_copy: false,
            files,
            told,
            stop,
        }
    }

    /// Encodes what is left and ends the last file.
    pub fn finish(&mut self) -> Result<Taken, Failure> {
        self.flush()?;
        let nulled = self.names.iter().zip(&self.columns);
        Ok(Taken {
            rows: self.rows_taken,
            nulled: nulled
                .filter(|(_, column)| column.nulled() > 0)
                .map(|(name, column)| (name.clone(), column.nulled()))
                .collect(),
            files: self.files.finish()?,
        })
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (index, column) in self.columns.iter_mut().enumerate() {
            match column.finish() {
                Ok(array) => arrays.push(array),
                Err(bad) => return Err(self.bad_value(index, bad)),
            }
        }
        self.files.write(self.rows, &arrays)?;
        local::kill::point("load.mid-copy");
        // Nobody listens when the load was given up.
        let _ = self.told.send((self.rows as u64, self.bytes as u64));
        self.rows_taken += self.rows as u64;
        self.rows = 0;
        self.bytes = 0;
        if self.stop.load(Ordering::Relaxed) {
            return Err(Failure::new(
                STOPPED,
                "another connection of this load failed",
            ));
        }
        Ok(())
    }

    /// The row of a COPY, or its end.
    #[inline]
    fn row(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let Some((count, mut rest)) = payload.split_first_chunk() else {
            return Err(self.malformed());
        };
        let count = i16::from_be_bytes(*count);
        if count == -1 && rest.is_empty() {
            self.in_copy = false;
            return Ok(());
        }
        if usize::try_from(count) != Ok(self.columns.len()) {
            return Err(self.malformed());
        }
        for index in 0..self.columns.len() {
            let Some((value, after)) = field(rest) else {
                return Err(self.malformed());
            };
            rest = after;
            match value {
                None => self.columns[index].append_null(),
                Some(value) => {
                    if let Err(bad) = self.columns[index].append_binary(value) {
                        return Err(self.bad_value(index, bad));
                    }
                }
            }
        }
        if !rest.is_empty() {
            return Err(self.malformed());
        }
        self.rows += 1;
        self.bytes += payload.len();
        if self.rows >= self.limits.rows || self.bytes >= self.limits.bytes {
            self.flush()?;
        }
        Ok(())
    }

    #[cold]
    fn malformed(&self) -> Failure {
        Failure::new(
            "CopyMalformed",
            format!("the source sent what is not a row of `{}`", self.table),
        )
    }

    #[cold]
    fn bad_value(&self, index: usize, bad: BadValue) -> Failure {
        let (column, table) = (&self.names[index], &self.table);
        Failure::new("ValueUnsupported", format!("column `{column}` of `{table}` cannot be carried: {bad}"))
            .hint("correct the value in the source, or load a view that leaves the column out or casts it to text")
    }
}

/// The next field, `None` for NULL, and what follows it.
#[inline]
fn field(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    match i32::from_be_bytes(*length) {
        -1 => Some((None, rest)),
        length => {
            let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            Some((Some(value), rest))
        }
    }
}

impl Sink for Rows {
    #[inline]
    fn data(&mut self, payload: &[u8]) -> Result<(), Failure> {
        if self.in_copy {
            return self.row(payload);
        }
        // The first message of a COPY begins with a header; the first row may be in it too.
        let extension = payload
            .strip_prefix(SIGNATURE)
            .and_then(|_| payload.get(HEADER_BYTES - 4..)?.first_chunk())
            .map(|length| u32::from_be_bytes(*length) as usize);
        let Some(rest) = extension.and_then(|length| payload.get(HEADER_BYTES + length..)) else {
            return Err(self.malformed());
        };
        self.in_copy = true;
        if rest.is_empty() {
            Ok(())
        } else {
            self.row(rest)
        }
    }
}

/// What one connection read and wrote.
#[derive(Debug, Default)]
pub struct Taken {
    pub rows: u64,
    pub nulled: Vec<(String, u64)>,
    pub files: Vec<pipeline::position::ManifestFile>,
}
