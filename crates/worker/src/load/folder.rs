//! The folder of one load and its neighbours: what makes a load exist, what a crash left, and which loads are kept.

use crate::failure::Failure;
use crate::store::{self, Location};
use pipeline::path::{MANIFEST_FILE, segment};
use pipeline::position::Manifest;
use std::error::Error;
use std::io;

/// Complete loads of a table that stay: the newest, and the one before as a way back.
const LOADS_KEPT: usize = 2;

/// `run=<run_id>` among the loads of a table.
pub struct Folder {
    pub place: Location,
    loads: Location,
}

impl Folder {
    pub fn new(loads: &str, run_id: &str) -> Result<Self, Failure> {
        let loads = store::location(loads)?;
        Ok(Self {
            place: loads.join(&format!("run={}", segment(run_id))),
            loads,
        })
    }

    /// The manifest, if this load exists.
    pub fn manifest(&self) -> Result<Option<Manifest>, Failure> {
        read_manifest(&self.place)
    }

    /// An empty folder, whatever an earlier attempt left in it.
    pub fn prepare(&self) -> Result<(), Failure> {
        remove(&self.place)?;
        self.place
            .make_folder()
            .map_err(|error| write_failed(&self.place, &error))
    }

    /// Takes an incomplete load away, as far as that is possible: the next attempt would do so too.
    pub fn abandon(&self) {
        let manifest = self.place.join(MANIFEST_FILE).bytes();
        if manifest.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            let _ = self.place.remove_folder();
        }
    }

    /// Makes the load exist.
    pub fn complete(&self, manifest: &Manifest) -> Result<(), Failure> {
        let place = self.place.join(MANIFEST_FILE);
        let failed = |error: &(dyn Error + 'static)| write_failed(&place, error);
        let bytes = serde_json::to_vec_pretty(manifest).map_err(|error| failed(&error))?;
        place.put(&bytes).map_err(|error| failed(&error))?;
        self.loads.sync_folder().map_err(|error| failed(&error))
    }

    /// Beside this load keeps the newest one before it; removes the others, and incomplete ones that are older than what is kept.
    pub fn keep_newest(&self) -> Result<(), Failure> {
        let mut complete = Vec::new();
        let mut incomplete = Vec::new();
        for place in load_folders(&self.loads)? {
            if place == self.place {
                continue;
            }
            match read_manifest(&place)? {
                Some(manifest) => complete.push((manifest.load_ended, place)),
                None => incomplete.push(place),
            }
        }
        complete.sort();
        complete.reverse();
        let Some((_, oldest_kept)) = complete.get(LOADS_KEPT - 2) else {
            return Ok(());
        };
        let manifest = oldest_kept.join(MANIFEST_FILE);
        let kept_since = manifest
            .modified()
            .map_err(|error| unreadable(&manifest, &error))?;
        for place in incomplete {
            let newest = place
                .newest_change()
                .map_err(|error| unreadable(&place, &error))?;
            if newest < kept_since {
                remove(&place)?;
            }
        }
        for (_, place) in &complete[LOADS_KEPT - 1..] {
            remove(place)?;
        }
        Ok(())
    }
}

fn load_folders(loads: &Location) -> Result<Vec<Location>, Failure> {
    let mut found = loads.folders().map_err(|error| unreadable(loads, &error))?;
    found.retain(|place| place.name().starts_with("run="));
    Ok(found)
}

fn read_manifest(folder: &Location) -> Result<Option<Manifest>, Failure> {
    let place = folder.join(MANIFEST_FILE);
    match place.read() {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            Failure::new(
                "ManifestUnreadable",
                format!("the manifest of a load cannot be read: `{place}`"),
            )
            .hint("remove the folder that it is in: the load has to be made again")
            .caused_by(&error)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(&place, &error)),
    }
}

/// Removes a load: first what makes it exist, so that no moment shows half a load.
fn remove(folder: &Location) -> Result<(), Failure> {
    folder
        .join(MANIFEST_FILE)
        .remove_file()
        .and_then(|()| folder.remove_folder())
        .map_err(|error| {
            Failure::new(
                "LakeUnwritable",
                format!("an old load cannot be removed: `{folder}`"),
            )
            .caused_by(&error)
        })
}

fn unreadable(place: &Location, error: &io::Error) -> Failure {
    Failure::new("LakeUnreadable", format!("`{place}` cannot be read")).caused_by(error)
}

/// Why a file of the lake could not be written.
pub fn write_failed(place: &Location, error: &(dyn Error + 'static)) -> Failure {
    let failure = match io_kind(error) {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            Failure::new("DiskFull", format!("there is no space left for `{place}`"))
                .hint("make space, and run the load again")
        }
        Some(
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory,
        ) => Failure::new("LakeUnwritable", format!("`{place}` cannot be written"))
            .hint(place.rights_hint()),
        _ => Failure::new("LakeUnwritable", format!("`{place}` cannot be written")),
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
        let path = &Location::Disk("/lake".into());
        assert_eq!(write_failed(path, &full()).error, "DiskFull");
        let wrapped = ParquetError::External(Box::new(full()));
        let failure = write_failed(path, &wrapped);
        assert_eq!(failure.error, "DiskFull");
        assert_eq!(failure.message, "there is no space left for `/lake`");
        let other = ParquetError::General("other".to_owned());
        assert_eq!(write_failed(path, &other).error, "LakeUnwritable");
    }
}
