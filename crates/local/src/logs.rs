//! What processes wrote, for a reader.

use crate::Local;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use tasks::port::PortError;

impl Local {
    /// A log file from a place on; empty where there is none yet.
    pub fn log_from(&self, path: &Path, offset: u64) -> Result<Vec<u8>, PortError> {
        read_from(path, offset).map_err(|error| PortError::Unknown {
            service: "files",
            message: format!("`{}`: {error}", path.display()),
        })
    }
}

fn read_from(path: &Path, offset: u64) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
