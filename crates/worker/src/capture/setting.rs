//! What is captured and where everything of it lies, from the configuration table of a home folder.

use crate::failure::Failure;
use crate::secret::Secret;
use crate::store::disk;
use local::Local;
use pipeline::deployment::Deployment;
use pipeline::path::{CAPTURE_FILE, TableName, Zones, segment};
use pipeline::plan::CaptureKind;
use pipeline::planning::{FollowedTable, followed};
use std::path::{Path, PathBuf};

/// There are no items of the identifier.
pub const UNKNOWN: &str = "IdentifierUnknown";

/// Capture of one identifier.
#[derive(Debug, Clone)]
pub struct Setting {
    pub identifier: String,
    /// Absolute.
    pub home: PathBuf,
    pub secrets: PathBuf,
    pub secret: String,
    /// The name of the replication slot, and of the publication.
    pub slot: String,
    pub db: String,
    pub zones: Zones,
    pub tables: Vec<FollowedTable>,
}

impl Setting {
    pub fn read(home: &Path, identifier: &str) -> Result<Self, Failure> {
        let local =
            Local::open(home).map_err(|error| Failure::new("HomeUnusable", error.to_string()))?;
        let home = local.home().root().to_owned();
        let items = local
            .config_items()
            .map_err(|error| Failure::new("HomeUnusable", error.to_string()))?;
        let deployment = Deployment::local(&home.to_string_lossy());
        let followed = followed(&items, &deployment, identifier).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let known = items.iter().any(|item| item["identifier"] == identifier);
            let error = if known { "ConfigFaulty" } else { UNKNOWN };
            Failure::new(error, lines.join("\n"))
        })?;
        check_kind(identifier, followed.source.capture.kind)?;
        let folder = home.join("capture");
        std::fs::create_dir_all(&folder).map_err(|error| cannot_write(&folder, &error))?;
        Ok(Self {
            identifier: identifier.to_owned(),
            secrets: local.home().secrets(),
            home,
            secret: followed.source.secret,
            slot: followed.source.capture.slot,
            db: followed.source.db,
            zones: followed.zones,
            tables: followed.tables,
        })
    }

    /// The source's secret, read anew for each connection: it may have been changed.
    pub fn secret(&self) -> Result<Secret, Failure> {
        Secret::read(&self.secrets, &self.secret)
    }

    /// The folder of a table's change files.
    pub fn folder(&self, table: &TableName) -> Result<PathBuf, Failure> {
        disk::path(&self.zones.changes(&self.db, table))
    }

    /// What capture says of itself to those who read its files.
    pub fn state_file(&self) -> Result<PathBuf, Failure> {
        Ok(disk::path(&self.zones.changes_root(&self.db))?.join(CAPTURE_FILE))
    }

    /// Held as long as capture runs.
    pub fn lock_file(&self) -> PathBuf {
        self.own_file("lock")
    }

    /// What capture says of itself to `start`, `status` and `stop`.
    pub fn status_file(&self) -> PathBuf {
        self.own_file("status.json")
    }

    pub fn log_file(&self) -> PathBuf {
        let name = format!("capture-{}.log", segment(&self.identifier));
        self.home.join("logs").join(name)
    }

    fn own_file(&self, kind: &str) -> PathBuf {
        let name = format!("{}.{kind}", segment(&self.identifier));
        self.home.join("capture").join(name)
    }

    pub fn wanted(&self, table: &TableName) -> Option<&FollowedTable> {
        self.tables.iter().find(|wanted| wanted.name == *table)
    }

    /// The command that a person may type about this capture.
    pub fn command(&self, name: &str) -> String {
        format!("headwater capture {name} --identifier {}", self.identifier)
    }
}

fn check_kind(identifier: &str, kind: CaptureKind) -> Result<(), Failure> {
    let kind = match kind {
        CaptureKind::Headwater => return Ok(()),
        CaptureKind::Dms => "dms",
        CaptureKind::None => "none",
    };
    Err(Failure::new(
        "CaptureForeign",
        format!(
            "changes of `{identifier}` are not captured by this program: `capture.kind` is `{kind}`"
        ),
    )
    .hint("set `capture.kind` to `headwater` in `database::config`"))
}

pub fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        "CannotWrite",
        format!("`{}` cannot be written", path.display()),
    )
    .hint("check that the disk has room, and that this user may write there")
    .caused_by(error)
}
