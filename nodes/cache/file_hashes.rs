//! Hashes of the models' files, remembered in `files.json`.
use crate::Result;
use crate::data::error::PathContext;
use crate::data::file;
use crate::data::regular;
use crate::data::store;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A file that changed so shortly before it was hashed may change again without another time.
const COARSEST_CLOCK: Duration = Duration::from_millis(100);

/// Hashes of files by path. A hash is valid as long as the file's [`Stamp`] stays.
pub(super) struct FileHashes {
    path: PathBuf,
    files: BTreeMap<String, HashedFile>,
    changed: bool,
}

#[derive(Serialize, Deserialize)]
struct HashedFile {
    #[serde(flatten)]
    stamp: Stamp,
    hash: String,
}

/// What changes when a file is written or replaced. Programs that copy files may keep size and
/// mtime, but not ctime, which is the system's.
#[derive(PartialEq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    /// Nanoseconds since 1970.
    mtime: u64,
    /// Nanoseconds since 1970; `None` where the system has none, or in a file of an earlier
    /// version.
    ctime: Option<u64>,
    inode: Option<u64>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> std::io::Result<Stamp> {
        let (ctime, inode) = change(metadata);
        Ok(Stamp {
            size: metadata.len(),
            mtime: nanoseconds(metadata.modified()?),
            ctime,
            inode,
        })
    }

    /// Whether the file has not changed for so long that another change would be seen.
    fn is_settled(&self) -> bool {
        let newest = self.mtime.max(self.ctime.unwrap_or(0));
        let age = nanoseconds(SystemTime::now()).saturating_sub(newest);
        age > COARSEST_CLOCK.as_nanos() as u64
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_nanos() as u64)
}

/// Returns ctime in nanoseconds, and the inode.
#[cfg(unix)]
fn change(metadata: &Metadata) -> (Option<u64>, Option<u64>) {
    use std::os::unix::fs::MetadataExt;
    let ctime = metadata.ctime() * 1_000_000_000 + metadata.ctime_nsec();
    (Some(ctime as u64), Some(metadata.ino()))
}

#[cfg(not(unix))]
fn change(_: &Metadata) -> (Option<u64>, Option<u64>) {
    (None, None)
}

impl FileHashes {
    /// Reads `files.json`. A file that is missing or damaged has no hashes, and so has a cache in a
    /// store, which processes of other machines share.
    pub(super) fn open(path: PathBuf) -> FileHashes {
        let files = fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        FileHashes {
            path,
            files,
            changed: false,
        }
    }

    /// Returns the hash of a file's bytes; reads the file if the hash is not known.
    pub(super) fn hash(&mut self, path: &Path) -> Result<String> {
        let name = fs::canonicalize(path).at(path)?;
        let name = name.to_string_lossy().into_owned();
        // Read before the bytes are: the next run then notices a change in between.
        let metadata = fs::metadata(path).at(path)?;
        let stamp = Stamp::of(&metadata).at(path)?;
        if let Some(known) = self.files.get(&name)
            && known.stamp == stamp
        {
            return Ok(known.hash.clone());
        }
        let is_settled = stamp.is_settled();
        let hash = hash_file(path).at(path)?.to_hex().to_string();
        if is_settled {
            let hash = hash.clone();
            self.files.insert(name, HashedFile { stamp, hash });
            self.changed = true;
        }
        Ok(hash)
    }

    /// Writes `files.json` if there are new hashes. If the cache cannot be written, the next run
    /// hashes the files again.
    pub(super) fn save(&self) {
        if self.changed
            && !store::is_address(&self.path)
            && let Ok(bytes) = serde_json::to_vec_pretty(&self.files)
        {
            let _ = file::write_atomic(&self.path, &bytes);
        }
    }
}

/// Returns the BLAKE3 of a file's bytes, without keeping them in memory.
pub(super) fn hash_file(path: &Path) -> std::io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(regular::open(path)?)?;
    Ok(hasher.finalize())
}
