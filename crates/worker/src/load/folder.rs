//! The folder of one load and its neighbours: what makes a load exist, what a crash left, and which loads are kept.

use crate::failure::Failure;
use crate::store;
use pipeline::path::{MANIFEST_FILE, segment};
use pipeline::position::Manifest;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Complete loads of a table that stay: the newest, and the one before as a way back.
const LOADS_KEPT: usize = 2;

/// `run=<run_id>` among the loads of a table.
pub struct Folder {
    pub path: PathBuf,
    loads: PathBuf,
}

impl Folder {
    pub fn new(loads: &str, run_id: &str) -> Result<Self, Failure> {
        let loads = store::path(loads)?;
        Ok(Self {
            path: loads.join(format!("run={}", segment(run_id))),
            loads,
        })
    }

    /// The manifest, if this load exists.
    pub fn manifest(&self) -> Result<Option<Manifest>, Failure> {
        read_manifest(&self.path)
    }

    /// An empty folder, whatever an earlier attempt left in it.
    pub fn prepare(&self) -> Result<(), Failure> {
        remove(&self.path)?;
        fs::create_dir_all(&self.path).map_err(|error| write_failed(&self.path, &error))
    }

    /// Takes an incomplete load away, as far as that is possible: the next attempt would do so too.
    pub fn abandon(&self) {
        if !self.path.join(MANIFEST_FILE).exists() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }

    /// Makes the load exist.
    pub fn complete(&self, manifest: &Manifest) -> Result<(), Failure> {
        let path = self.path.join(MANIFEST_FILE);
        let failed = |error: &(dyn Error + 'static)| write_failed(&path, error);
        let bytes = serde_json::to_vec_pretty(manifest).map_err(|error| failed(&error))?;
        store::put(&path, &bytes).map_err(|error| failed(&error))?;
        store::sync_folder(&self.loads).map_err(|error| failed(&error))
    }

    /// Beside this load keeps the newest one before it; removes the others, and incomplete ones that are older than what is kept.
    pub fn keep_newest(&self) -> Result<(), Failure> {
        let mut complete = Vec::new();
        let mut incomplete = Vec::new();
        for path in load_folders(&self.loads)? {
            if path == self.path {
                continue;
            }
            match read_manifest(&path)? {
                Some(manifest) => complete.push((manifest.load_ended, path)),
                None => incomplete.push(path),
            }
        }
        complete.sort();
        complete.reverse();
        let Some((_, oldest_kept)) = complete.get(LOADS_KEPT - 2) else {
            return Ok(());
        };
        let kept_since = modified(&oldest_kept.join(MANIFEST_FILE))?;
        for path in incomplete {
            if newest_change(&path)? < kept_since {
                remove(&path)?;
            }
        }
        for (_, path) in &complete[LOADS_KEPT - 1..] {
            remove(path)?;
        }
        Ok(())
    }
}

fn load_folders(loads: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error: &io::Error| unreadable(loads, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(loads).map_err(|error| unreadable(&error))? {
        let entry = entry.map_err(|error| unreadable(&error))?;
        if entry.file_name().to_string_lossy().starts_with("run=") {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn read_manifest(folder: &Path) -> Result<Option<Manifest>, Failure> {
    let path = folder.join(MANIFEST_FILE);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            Failure::new(
                "ManifestUnreadable",
                format!(
                    "the manifest of a load cannot be read: `{}`",
                    path.display()
                ),
            )
            .hint("remove the folder that it is in: the load has to be made again")
            .caused_by(&error)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(&path, &error)),
    }
}

/// Removes a load: first what makes it exist, so that no moment shows half a load.
fn remove(folder: &Path) -> Result<(), Failure> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::new(
            "LakeUnwritable",
            format!("an old load cannot be removed: `{}`", folder.display()),
        )
        .caused_by(&error)),
        _ => Ok(()),
    };
    gone(fs::remove_file(folder.join(MANIFEST_FILE)))?;
    gone(fs::remove_dir_all(folder))
}

fn modified(path: &Path) -> Result<SystemTime, Failure> {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .map_err(|error| unreadable(path, &error))
}

/// When something last changed in a folder of files.
fn newest_change(folder: &Path) -> Result<SystemTime, Failure> {
    let mut newest = modified(folder)?;
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        newest = newest.max(modified(&path)?);
    }
    Ok(newest)
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        "LakeUnreadable",
        format!("`{}` cannot be read", path.display()),
    )
    .caused_by(error)
}

/// Why a file of the lake could not be written.
pub fn write_failed(path: &Path, error: &(dyn Error + 'static)) -> Failure {
    let shown = path.display();
    let failure = match io_kind(error) {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            Failure::new("DiskFull", format!("there is no space left for `{shown}`"))
                .hint("make space, and run the load again")
        }
        Some(
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory,
        ) => Failure::new("LakeUnwritable", format!("`{shown}` cannot be written"))
            .hint("check the owner and the rights of the lake's folders"),
        _ => Failure::new("LakeUnwritable", format!("`{shown}` cannot be written")),
    };
    failure.caused_by(error)
}

/// The kind of the I/O error in a chain of causes.
fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        if let Some(parquet::errors::ParquetError::External(inner)) = error.downcast_ref() {
            return io_kind(&**inner);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::errors::ParquetError;

    #[test]
    fn a_full_disk_is_named_however_deep_it_lies() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let path = Path::new("/lake");
        assert_eq!(write_failed(path, &full()).error, "DiskFull");
        let wrapped = ParquetError::External(Box::new(full()));
        let failure = write_failed(path, &wrapped);
        assert_eq!(failure.error, "DiskFull");
        assert_eq!(failure.message, "there is no space left for `/lake`");
        let other = ParquetError::General("other".to_owned());
        assert_eq!(write_failed(path, &other).error, "LakeUnwritable");
    }
}
