//! A row as it is compared: the text of its cells, those of the key first.

use xxhash_rust::xxh3::xxh3_128;

/// In the place of a length: there is no value.
const NULL: u32 = u32::MAX;
const LENGTH_BYTES: usize = 4;

/// One row at a time; its memory is used again for the next.
#[derive(Debug, Default)]
pub struct Row {
    /// Each cell is its length and its text.
    bytes: Vec<u8>,
    key_end: usize,
}

impl Row {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.key_end = 0;
    }

    pub fn null(&mut self) {
        self.bytes.extend_from_slice(&NULL.to_ne_bytes());
    }

    /// Adds a cell. What `write` leaves behind what was there is its text; when it answers `false` there is no value.
    #[inline]
    pub fn cell<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let length_at = self.bytes.len();
        self.null();
        let text_at = self.bytes.len();
        if write(&mut self.bytes)? {
            let length = (self.bytes.len() - text_at) as u32;
            self.bytes[length_at..text_at].copy_from_slice(&length.to_ne_bytes());
        } else {
            self.bytes.truncate(text_at);
        }
        Ok(())
    }

    /// The cells so far are the key.
    pub fn end_key(&mut self) {
        self.key_end = self.bytes.len();
    }

    pub fn key_hash(&self) -> u128 {
        xxh3_128(&self.bytes[..self.key_end])
    }

    /// Of all cells.
    pub fn hash(&self) -> u128 {
        xxh3_128(&self.bytes)
    }

    /// The texts, in order.
    pub fn cells(&self) -> Vec<Option<String>> {
        let mut rest = self.bytes.as_slice();
        let mut cells = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<LENGTH_BYTES>() {
            let length = u32::from_ne_bytes(*length);
            if length == NULL {
                cells.push(None);
                rest = after;
            } else {
                let (text, after) = after.split_at(length as usize);
                cells.push(Some(String::from_utf8_lossy(text).into_owned()));
                rest = after;
            }
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[Option<&str>]) -> Row {
        let mut row = Row::default();
        for cell in cells {
            row.cell(|out| {
                out.extend_from_slice(cell.unwrap_or("left behind").as_bytes());
                Ok::<_, ()>(cell.is_some())
            })
            .unwrap();
        }
        row.end_key();
        row
    }

    #[test]
    fn rows_differ_when_a_boundary_or_a_missing_value_differs() {
        let rows = [
            row(&[Some("ab"), Some("c")]),
            row(&[Some("a"), Some("bc")]),
            row(&[Some("abc"), Some("")]),
            row(&[Some("abc"), None]),
            row(&[Some("abc")]),
            row(&[]),
        ];
        for (at, one) in rows.iter().enumerate() {
            for (other_at, other) in rows.iter().enumerate() {
                assert_eq!(one.hash() == other.hash(), at == other_at);
            }
        }
        assert_eq!(rows[3].cells(), [Some("abc".to_owned()), None]);
    }
}
