//! Rows and bytes of Parquet files, without their rows.

use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;
use std::error::Error;
use std::fs::File;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    pub rows: u64,
    pub bytes: u64,
}

/// A file that is not there, or none of Parquet.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct Unmeasured {
    pub name: String,
    source: Box<dyn Error + Send + Sync>,
}

impl Unmeasured {
    pub(super) fn new(name: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            name: name.to_owned(),
            source: source.into(),
        }
    }
}

pub(super) fn on_disk(folder: &Path, names: &[String]) -> Result<Vec<Measured>, Unmeasured> {
    let one = |name: &String| {
        let file = File::open(folder.join(name)).map_err(|error| Unmeasured::new(name, error))?;
        let bytes = file
            .metadata()
            .map_err(|error| Unmeasured::new(name, error))?;
        let footer = ParquetMetaDataReader::new()
            .parse_and_finish(&file)
            .map_err(|error| Unmeasured::new(name, error))?;
        Ok(Measured {
            rows: footer.file_metadata().num_rows().unsigned_abs(),
            bytes: bytes.len(),
        })
    };
    names.iter().map(one).collect()
}

/// A footer that is in the last bytes of a file, or how many of them it takes.
pub(super) enum Tail {
    Rows(u64),
    Needed(usize),
}

pub(super) fn tail(bytes: &bytes::Bytes, file_bytes: u64) -> Result<Tail, ParquetError> {
    let mut reader = ParquetMetaDataReader::new();
    match reader.try_parse_sized(bytes, file_bytes) {
        Ok(()) => {
            let footer = reader.finish()?;
            Ok(Tail::Rows(footer.file_metadata().num_rows().unsigned_abs()))
        }
        Err(ParquetError::NeedMoreData(needed)) if (needed as u64) <= file_bytes => {
            Ok(Tail::Needed(needed))
        }
        Err(error) => Err(error),
    }
}
