//! EMR's marker of work that it does not see: a cluster whose marker is fresh is not idle, though nothing runs under YARN.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, SystemTime};

/// The folder that EMR makes on its machines.
pub const FOLDER: &str = "/emr/metricscollector";
const MARKER: &str = "isbusy";
/// The shortest idle time that EMR takes.
const INTERVAL: Duration = Duration::from_secs(60);

/// Touches the marker until dropped.
pub struct Busy {
    _until: Sender<()>,
}

/// Keeps a cluster busy, where there is one: a machine without the folder is none of EMR's.
pub fn keep(folder: &Path) -> Option<Busy> {
    if !folder.is_dir() {
        return None;
    }
    let marker = folder.join(MARKER);
    let mut told = touched(&marker, false);
    let (until, dropped) = channel();
    std::thread::spawn(move || {
        while dropped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
            told = touched(&marker, told);
        }
    });
    Some(Busy { _until: until })
}

/// Touches the marker; says once that it cannot, and gives whether that was said.
fn touched(marker: &Path, told: bool) -> bool {
    match touch(marker) {
        Ok(()) => told,
        Err(error) => {
            if !told {
                tracing::warn!(%error, "`{}` cannot be touched: EMR may take this cluster for idle", marker.display());
            }
            true
        }
    }
}

fn touch(marker: &Path) -> io::Result<()> {
    let file: File = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(marker)?;
    file.set_modified(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_is_made_and_made_fresh_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let marker = folder.path().join(MARKER);
        let busy = keep(folder.path());
        assert!(busy.is_some() && marker.exists());
        let file = File::options().write(true).open(&marker).expect("opened");
        file.set_modified(SystemTime::UNIX_EPOCH).expect("aged");
        assert!(!touched(&marker, false));
        let age = std::fs::metadata(&marker)
            .and_then(|data| data.modified())
            .expect("a time");
        assert!(age > SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn a_machine_that_is_none_of_emrs_has_no_marker() {
        assert!(keep(Path::new("/no/such/folder")).is_none());
    }

    #[test]
    fn a_marker_that_cannot_be_touched_is_told_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let marker = folder.path().join(MARKER);
        std::fs::create_dir(&marker).expect("a folder in its place");
        assert!(touched(&marker, false), "told");
        assert!(touched(&marker, true), "and not forgotten");
    }
}
