//! Folders of this machine: `file://`. Also what only runs here uses them by path.

use crate::failure::Failure;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The folder or file of this machine that a URI names.
pub fn path(uri: &str) -> Result<PathBuf, Failure> {
    match uri.strip_prefix("file://") {
        Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        _ => Err(Failure::new(
            "SchemeUnknown",
            format!("`{uri}` is no folder of this machine"),
        )
        .hint("URIs here begin with `file:///`; on AWS, DMS writes the change files")),
    }
}

/// A file that appears under its name only when it is whole: written beside, synced, renamed, folder synced.
pub struct NewFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl NewFile {
    /// Begins `path`, making its folders.
    pub fn create(path: &Path) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
        Ok(Self {
            file: File::create(&temporary)?,
            temporary,
            path: path.to_owned(),
        })
    }

    /// Makes the file appear; gives its bytes.
    pub fn commit(self) -> io::Result<u64> {
        self.file.sync_all()?;
        let bytes = self.file.metadata()?.len();
        fs::rename(&self.temporary, &self.path)?;
        sync_folder(self.path.parent().unwrap_or(Path::new("/")))?;
        Ok(bytes)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Writes a small file whole.
pub fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = NewFile::create(path)?;
    file.write_all(bytes)?;
    file.commit().map(|_| ())
}

/// All files below a folder, at any depth, as paths relative to it with `/`, sorted; none when there is no folder.
/// Files whose name begins with `.` or `_` are not data and are left out.
pub fn data_files(folder: &Path) -> io::Result<Vec<String>> {
    fn walk(folder: &Path, below: &str, found: &mut Vec<String>) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                walk(&entry.path(), &format!("{below}{name}/"), found)?;
            } else if !name.starts_with(['.', '_']) {
                found.push(format!("{below}{name}"));
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(folder, "", &mut found)?;
    found.sort();
    Ok(found)
}

/// The folders in a folder, in no order; none when it is not there.
pub(super) fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// When something last changed in a folder of files.
pub(super) fn newest_change(folder: &Path) -> io::Result<SystemTime> {
    let mut newest = modified(folder)?;
    for entry in fs::read_dir(folder)? {
        newest = newest.max(modified(&entry?.path())?);
    }
    Ok(newest)
}

pub(super) fn modified(path: &Path) -> io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

/// What was to be removed and is not there is removed.
pub(super) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
