//! Keeps two processes from merging one folder: each could remove a part because of one that the
//! other removes.
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::printable::printable_path;
use crate::data::store;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The file that is locked. It stays: were it removed, two processes could lock one of that name each.
/// It is opened for writing, as NFS asks of a lock that other hosts see.
const LOCKED: &str = "merging.lock";
/// The file or object by which a process says that it merges a folder, where nothing can be locked.
const MARKER: &str = "merging";

/// The right to merge a folder, until it is dropped.
pub(super) enum MergeLock {
    Locked {
        _file: File,
    },
    /// A marker, which a process that is killed leaves behind.
    Marked(PathBuf),
}

impl MergeLock {
    /// Locks a folder.
    ///
    /// # Errors
    /// Another process merges it, or it cannot be written.
    pub(super) fn take(folder: &Path) -> Result<MergeLock> {
        if store::is_address(folder) {
            return MergeLock::mark(folder);
        }
        let path = folder.join(LOCKED);
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        // Another user's file may be read, which is enough but for NFS.
        let file = options
            .open(&path)
            .or_else(|_| File::open(&path))
            .at(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(MergeLock::Locked { _file: file }),
            Err(TryLockError::WouldBlock) => Err(error_at(
                folder,
                "another process merges it; run again later",
            )),
            Err(TryLockError::Error(_)) => MergeLock::mark(folder),
        }
    }

    fn mark(folder: &Path) -> Result<MergeLock> {
        let object = folder.join(MARKER);
        let created = match store::is_address(folder) {
            true => store::create(&object, b""),
            false => File::create_new(&object).map(drop),
        };
        match created {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let object = printable_path(&object);
                Err(format!(
                    "{object} is there: another process merges this cache; run again later, or, if \
                     one was killed, after removing it"
                )
                .into())
            }
            created => {
                created.at(&object)?;
                Ok(MergeLock::Marked(object))
            }
        }
    }
}

impl Drop for MergeLock {
    fn drop(&mut self) {
        if let MergeLock::Marked(object) = self {
            let _ = store::remove(object); // the next merge names what is left
        }
    }
}
