//! Buckets as folders: `file:///folder/file` is that file.

use crate::Local;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tasks::port::{Object, Objects, PortError};

impl Objects for Local {
    async fn read(&self, uri: &str) -> Result<Option<Vec<u8>>, PortError> {
        match fs::read(path(uri)?) {
            Ok(bytes) => Ok(Some(bytes)),
            // A folder is no object, and there is none below a file.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::IsADirectory
                        | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(failed(uri, &error)),
        }
    }

    async fn put(&self, uri: &str, bytes: &[u8]) -> Result<(), PortError> {
        put_file(&path(uri)?, bytes).map_err(|error| failed(uri, &error))
    }

    async fn list_objects(&self, uri: &str) -> Result<Vec<Object>, PortError> {
        let uri = uri.trim_end_matches('/');
        let mut found = Vec::new();
        walk(&path(uri)?, uri, &mut found).map_err(|error| failed(uri, &error))?;
        found.sort_by(|a, b| a.uri.cmp(&b.uri));
        Ok(found)
    }
}

fn path(uri: &str) -> Result<PathBuf, PortError> {
    match uri.strip_prefix("file://") {
        Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        _ => Err(PortError::Refused {
            service: "files",
            message: format!("`{uri}` does not begin with `file:///`"),
        }),
    }
}

/// A file appears under its name only when it is whole and on disk.
pub(crate) fn put_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".{name}.{}-{number}.tmp", std::process::id()));
    let written = write_synced(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // What matters is why it could not be written.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    File::open(folder)?.sync_all()
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Files that are still being written are no objects.
fn walk(folder: &Path, uri: &str, found: &mut Vec<Object>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let uri = format!("{uri}/{name}");
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), &uri, found)?;
        } else if !(name.starts_with('.') && name.ends_with(".tmp")) {
            match entry.metadata() {
                Ok(metadata) => found.push(Object {
                    uri,
                    bytes: metadata.len(),
                }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn failed(uri: &str, error: &io::Error) -> PortError {
    let message = format!("`{uri}`: {error}");
    match error.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::StorageFull
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidFilename => PortError::Refused {
            service: "files",
            message,
        },
        _ => PortError::Unknown {
            service: "files",
            message,
        },
    }
}
