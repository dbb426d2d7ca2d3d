//! Change files: written beside their place, and made visible together, in order, under names that only grow.

use super::setting::{Setting, cannot_write};
use crate::failure::Failure;
use crate::store::disk;
use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use pipeline::change_files::written;
use pipeline::path::TableName;
use pipeline::time::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const TEMPORARY: (&str, &str) = (".capture-", ".tmp");

/// Folders of the lake above a table's, which may be new as well.
const FOLDERS_ABOVE: usize = 5;

/// Files of one connection to the source.
pub struct Files {
    folders: HashMap<TableName, Folder>,
    /// Whole, but not visible.
    waiting: Vec<Waiting>,
    number: u64,
}

struct Folder {
    path: PathBuf,
    /// The moment in the newest name.
    newest: Timestamp,
}

struct Waiting {
    table: TableName,
    temporary: PathBuf,
    not_before: Timestamp,
}

impl Files {
    pub fn new() -> Self {
        Self {
            folders: HashMap::new(),
            waiting: Vec::new(),
            number: 0,
        }
    }

    /// Writes a file that nobody sees yet. Its name will not be earlier than `not_before`.
    pub fn write(
        &mut self,
        setting: &Setting,
        table: &TableName,
        batch: &RecordBatch,
        not_before: Timestamp,
    ) -> Result<(), Failure> {
        let folder = self.folder(setting, table)?.path.clone();
        self.number += 1;
        let (prefix, suffix) = TEMPORARY;
        let temporary = folder.join(format!("{prefix}{}{suffix}", self.number));
        write_parquet(&temporary, batch).map_err(|error| cannot_write(&temporary, &error))?;
        self.waiting.push(Waiting {
            table: table.clone(),
            temporary,
            not_before,
        });
        Ok(())
    }

    /// No file waits to become visible.
    pub fn are_none(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Makes all files visible whose turn it is; `between` is told before each but the first.
    pub fn publish(
        &mut self,
        now: Timestamp,
        between: impl Fn() -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let waiting = std::mem::take(&mut self.waiting);
        let mut touched = BTreeSet::new();
        for (index, file) in waiting.iter().enumerate() {
            if index > 0 {
                between()?;
            }
            let Some(folder) = self.folders.get_mut(&file.table) else {
                continue;
            };
            let path = folder.next(now.max(file.not_before));
            show(&file.temporary, &path).map_err(|error| cannot_write(&path, &error))?;
            touched.extend(path.parent().map(Path::to_owned));
            touched.insert(folder.path.clone());
        }
        for folder in touched {
            disk::sync_folder(&folder).map_err(|error| cannot_write(&folder, &error))?;
        }
        Ok(waiting.len())
    }

    fn folder(&mut self, setting: &Setting, table: &TableName) -> Result<&Folder, Failure> {
        if !self.folders.contains_key(table) {
            let path = setting.folder(table)?;
            let folder = Folder::open(path.clone()).map_err(|error| cannot_write(&path, &error))?;
            self.folders.insert(table.clone(), folder);
        }
        Ok(&self.folders[table])
    }
}

impl Folder {
    /// Makes the folder, or takes away what a killed capture left invisible in it.
    fn open(path: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        for above in path.ancestors().skip(1).take(FOLDERS_ABOVE) {
            disk::sync_folder(above)?;
        }
        let (prefix, suffix) = TEMPORARY;
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(prefix) && name.ends_with(suffix) {
                fs::remove_file(entry.path())?;
            }
        }
        let files = disk::data_files(&path)?;
        Ok(Self {
            path,
            newest: files
                .iter()
                .filter_map(|file| written(file))
                .max()
                .unwrap_or(Timestamp(0)),
        })
    }

    fn next(&mut self, at: Timestamp) -> PathBuf {
        self.newest = at.max(Timestamp(self.newest.0 + 1));
        let (year, month, day, hour, minute, second, ms) = self.newest.civil();
        let date = format!("{year:04}{month:02}{day:02}");
        self.path.join(&date).join(format!(
            "{date}-{hour:02}{minute:02}{second:02}{ms:03}.parquet"
        ))
    }
}

fn write_parquet(path: &Path, batch: &RecordBatch) -> io::Result<()> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let file = File::create(path)?;
    let mut writer = ArrowWriter::try_new(file.try_clone()?, batch.schema(), Some(properties))?;
    writer.write(batch)?;
    writer.close()?;
    file.sync_all()
}

fn show(temporary: &Path, path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::rename(temporary, path)
}
