//! Keeps two processes from merging one folder: each could remove a part because of one that the
//! other removes.
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::printable::printable_path;
use crate::data::store;
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The object by which a process says that it merges a folder of a store.
const OBJECT: &str = "merging";

/// The right to merge a folder, until it is dropped.
pub(super) enum MergeLock {
    /// `None` where the system locks no folders.
    Disk { _file: Option<File> },
    /// An object, which a process that is killed leaves behind.
    Store(PathBuf),
}

impl MergeLock {
    /// Locks a folder.
    ///
    /// # Errors
    /// Another process merges it.
    pub(super) fn take(folder: &Path) -> Result<MergeLock> {
        if store::is_address(folder) {
            return MergeLock::create(folder.join(OBJECT));
        }
        let Ok(file) = File::open(folder) else {
            return Ok(MergeLock::Disk { _file: None });
        };
        match file.try_lock() {
            Ok(()) => Ok(MergeLock::Disk { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(error_at(
                folder,
                "another process merges it; run again later",
            )),
            Err(TryLockError::Error(_)) => Ok(MergeLock::Disk { _file: None }),
        }
    }

    fn create(object: PathBuf) -> Result<MergeLock> {
        match store::create(&object, b"") {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let object = printable_path(&object);
                Err(format!(
                    "{object} is there: another process merges this cache; run again later, or, if \
                     one was killed, after removing that object"
                )
                .into())
            }
            created => {
                created.at(&object)?;
                Ok(MergeLock::Store(object))
            }
        }
    }
}

impl Drop for MergeLock {
    fn drop(&mut self) {
        if let MergeLock::Store(object) = self {
            let _ = store::remove(object); // the next merge names what is left
        }
    }
}
