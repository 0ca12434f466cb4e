//! Hashes of the models' files, remembered in `files.json`.
use super::files;
use crate::Result;
use crate::data::error::PathContext;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Hashes of files by path. A hash is valid as long as the file's size and time stay.
pub(super) struct FileHashes {
    path: PathBuf,
    files: BTreeMap<String, HashedFile>,
    changed: bool,
}

#[derive(Serialize, Deserialize)]
struct HashedFile {
    size: u64,
    /// Nanoseconds since 1970.
    mtime: u64,
    hash: String,
}

impl FileHashes {
    /// Reads `files.json`. A file that is missing or damaged has no hashes.
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
        let modified = metadata.modified().at(path)?;
        let age = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        let size = metadata.len();
        let mtime = age.as_nanos() as u64;
        if let Some(known) = self.files.get(&name)
            && known.size == size
            && known.mtime == mtime
        {
            return Ok(known.hash.clone());
        }
        let hash = hash_file(path).at(path)?.to_hex().to_string();
        let file = HashedFile {
            size,
            mtime,
            hash: hash.clone(),
        };
        self.files.insert(name, file);
        self.changed = true;
        Ok(hash)
    }

    /// Writes `files.json` if there are new hashes. If the cache cannot be written, the next run
    /// hashes the files again.
    pub(super) fn save(&self) {
        if self.changed
            && let Ok(bytes) = serde_json::to_vec_pretty(&self.files)
        {
            let _ = files::write(&self.path, &bytes);
        }
    }
}

/// Returns the BLAKE3 of a file's bytes, without keeping them in memory.
pub(super) fn hash_file(path: &Path) -> std::io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path)?)?;
    Ok(hasher.finalize())
}
