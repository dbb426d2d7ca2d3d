//! Who is alive: a lock on a file, which the kernel takes back however a process ends. Never a process id, which may be given to another.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

/// A lock on a file, held until dropped or until the process ends. It is not inherited by programs that are started.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Waits for the lock.
pub fn hold(path: &Path) -> io::Result<Lock> {
    let file = file(path)?;
    file.lock()?;
    Ok(Lock { _file: file })
}

/// The lock, unless a process holds it.
pub fn try_hold(path: &Path) -> io::Result<Option<Lock>> {
    let file = file(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether a process holds it. Those who ask do not stand in each other's way.
pub fn held(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_until_it_is_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.lock");
        assert!(!held(&path).expect("asked"));
        let lock = try_hold(&path).expect("asked").expect("free");
        assert!(held(&path).expect("asked"));
        assert!(try_hold(&path).expect("asked").is_none());
        drop(lock);
        assert!(!held(&path).expect("asked"));
    }
}
