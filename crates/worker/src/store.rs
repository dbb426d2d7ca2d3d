//! Files of the lake by URI: folders of this machine (`file://`) or buckets of S3 (`s3://`), behind one set of operations.
//!
//! A file appears under its name whole or not at all, in either. Buckets have no folders, no rename and no file locks;
//! their listings are up to date.

mod bucket;
pub mod disk;
mod measure;
#[cfg(all(test, feature = "aws"))]
mod tests;

#[cfg(all(test, feature = "aws"))]
pub(crate) use bucket::set_settings;
pub use bucket::settings;
pub use measure::Measured;

use crate::failure::Failure;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file or a folder of the lake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    Disk(PathBuf),
    Bucket(bucket::Key),
}

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Self {
        Self::Disk(path)
    }
}

/// As messages show it: a path of this machine, or a URI.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(path) => path.display().fmt(f),
            Self::Bucket(key) => key.fmt(f),
        }
    }
}

/// The location that a URI names.
pub fn location(uri: &str) -> Result<Location, Failure> {
    if let Some(key) = uri.strip_prefix("s3://").and_then(bucket::Key::parse) {
        return Ok(Location::Bucket(key));
    }
    match disk::path(uri) {
        Ok(path) => Ok(Location::Disk(path)),
        Err(_) => Err(
            Failure::new("SchemeUnknown", format!("no store for `{uri}`"))
                .hint("URIs begin with `file:///` or `s3://<bucket>/`"),
        ),
    }
}

impl Location {
    /// A file or folder below; `name` may have several segments.
    pub fn join(&self, name: &str) -> Self {
        match self {
            Self::Disk(path) => Self::Disk(path.join(name)),
            Self::Bucket(key) => Self::Bucket(key.join(name)),
        }
    }

    /// The last segment.
    pub fn name(&self) -> String {
        match self {
            Self::Disk(path) => path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            Self::Bucket(key) => key.name().to_owned(),
        }
    }

    /// Where it is on this machine.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Disk(path) => Some(path),
            Self::Bucket(_) => None,
        }
    }

    /// As the Hudi library takes it: an absolute path, or a URL in which odd characters are encoded.
    pub fn base_uri(&self) -> String {
        match self {
            Self::Disk(path) => path.to_string_lossy().into_owned(),
            Self::Bucket(key) => key.url(),
        }
    }

    /// What the place's owner can do when it cannot be used.
    pub fn rights_hint(&self) -> &'static str {
        match self {
            Self::Disk(_) => "check the owner and the rights of the lake's folders",
            Self::Bucket(_) => {
                "check what this machine's role may do in the bucket, and that the bucket is in its region"
            }
        }
    }

    /// The whole file.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Disk(path) => fs::read(path),
            Self::Bucket(key) => key.read(),
        }
    }

    /// Writes a small file whole.
    pub fn put(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Disk(path) => disk::put(path, bytes),
            Self::Bucket(key) => key.put(bytes),
        }
    }

    /// The file, to read it more than once or in parts. One of a bucket is fetched, and gone with its handle.
    pub fn open(&self) -> io::Result<File> {
        match self {
            Self::Disk(path) => File::open(path),
            Self::Bucket(key) => key.fetch(),
        }
    }

    /// Bytes of a file.
    pub fn bytes(&self) -> io::Result<u64> {
        match self {
            Self::Disk(path) => fs::metadata(path).map(|data| data.len()),
            Self::Bucket(key) => key.head().map(|head| head.size),
        }
    }

    /// When a file was written.
    pub fn modified(&self) -> io::Result<SystemTime> {
        match self {
            Self::Disk(path) => disk::modified(path),
            Self::Bucket(key) => key.head().map(|head| head.last_modified.into()),
        }
    }

    /// Rows and bytes of Parquet files, by their footers. The failure names the file.
    pub fn measured(&self, names: &[String]) -> Result<Vec<Measured>, measure::Unmeasured> {
        match self {
            Self::Disk(folder) => measure::on_disk(folder, names),
            Self::Bucket(key) => key.measured(names),
        }
    }

    /// When something last changed in a folder of files.
    pub fn newest_change(&self) -> io::Result<SystemTime> {
        match self {
            Self::Disk(path) => disk::newest_change(path),
            Self::Bucket(key) => key.newest_change(),
        }
    }

    /// All files below a folder, at any depth, as names relative to it with `/`, sorted; none when there is no folder.
    /// Files whose name begins with `.` or `_` are not data and are left out.
    pub fn data_files(&self) -> io::Result<Vec<String>> {
        match self {
            Self::Disk(path) => disk::data_files(path),
            Self::Bucket(key) => key.data_files(),
        }
    }

    /// Bytes of all Parquet files below a folder, at any depth.
    pub fn stored_bytes(&self) -> io::Result<u64> {
        let wanted = |name: &String| name.ends_with(".parquet");
        match self {
            Self::Disk(path) => {
                let files = disk::data_files(path)?.into_iter().filter(wanted);
                let bytes = files.map(|name| fs::metadata(path.join(name)).map(|data| data.len()));
                bytes.sum()
            }
            Self::Bucket(key) => key.stored_bytes(wanted),
        }
    }

    /// The folders in a folder, in no order; none when it is not there.
    pub fn folders(&self) -> io::Result<Vec<Self>> {
        match self {
            Self::Disk(path) => Ok(disk::folders(path)?.into_iter().map(Self::Disk).collect()),
            Self::Bucket(key) => Ok(key.folders()?.into_iter().map(Self::Bucket).collect()),
        }
    }

    /// Makes a folder with those above it, where there are folders.
    pub fn make_folder(&self) -> io::Result<()> {
        match self {
            Self::Disk(path) => fs::create_dir_all(path),
            Self::Bucket(_) => Ok(()),
        }
    }

    /// Makes the names in a folder durable, where they are not by themselves.
    pub fn sync_folder(&self) -> io::Result<()> {
        match self {
            Self::Disk(path) => disk::sync_folder(path),
            Self::Bucket(_) => Ok(()),
        }
    }

    /// Removes a file; that there is none is fine.
    pub fn remove_file(&self) -> io::Result<()> {
        match self {
            Self::Disk(path) => disk::gone(fs::remove_file(path)),
            Self::Bucket(key) => key.remove(),
        }
    }

    /// Removes a folder and all below it; that there is none is fine.
    pub fn remove_folder(&self) -> io::Result<()> {
        match self {
            Self::Disk(path) => disk::gone(fs::remove_dir_all(path)),
            Self::Bucket(key) => key.remove_below(),
        }
    }
}

/// A file that appears under its name only when it is whole.
pub enum NewFile {
    /// Written beside, synced, renamed, folder synced.
    Disk(disk::NewFile),
    /// Written to a file without a name on this machine, uploaded when it is whole.
    Bucket { key: bucket::Key, file: File },
}

impl NewFile {
    /// Begins a file, making its folders.
    pub fn create(location: &Location) -> io::Result<Self> {
        match location {
            Location::Disk(path) => disk::NewFile::create(path).map(Self::Disk),
            Location::Bucket(key) => Ok(Self::Bucket {
                key: key.clone(),
                file: tempfile::tempfile()?,
            }),
        }
    }

    /// Makes the file appear; gives its bytes.
    pub fn commit(self) -> io::Result<u64> {
        match self {
            Self::Disk(file) => file.commit(),
            Self::Bucket { key, file } => key.upload(file),
        }
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Disk(file) => file.write(bytes),
            Self::Bucket { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Disk(file) => file.flush(),
            Self::Bucket { file, .. } => file.flush(),
        }
    }
}
