//! Which bytes were read of which files, so that what is computed from them can be stored under
//! their hash, whatever happens to the files meanwhile.
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::text;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// BLAKE3, in hex, of the bytes that were read, by path.
#[derive(Clone, Default)]
pub struct ReadFiles(BTreeMap<PathBuf, Hash>);

#[derive(Clone)]
enum Hash {
    Known(String),
    /// Of a file of which only parts were read. It is hashed when someone asks.
    OfOpen(Arc<OpenFile>),
}

struct OpenFile {
    file: File,
    /// Length and time of the last change when it was opened.
    state: (u64, Option<SystemTime>),
    hash: OnceLock<String>,
}

impl ReadFiles {
    /// Reads a text file and remembers its hash. Errors name `path`.
    pub(crate) fn text(&mut self, path: &Path) -> Result<String> {
        let bytes = text::read_small_bytes(path).at(path)?;
        self.insert(path, blake3::hash(&bytes));
        text::decode(bytes).at(path)
    }

    /// Remembers the hash of a file that was read; the first of several counts.
    pub(crate) fn insert(&mut self, path: &Path, hash: blake3::Hash) {
        self.0
            .entry(path.to_owned())
            .or_insert_with(|| Hash::Known(hash.to_hex().to_string()));
    }

    /// Remembers an open file, of which parts are read. Errors name `path`.
    pub(crate) fn insert_open(&mut self, path: &Path, file: File) -> Result<()> {
        let open = OpenFile {
            state: state(&file).at(path)?,
            file,
            hash: OnceLock::new(),
        };
        self.0
            .entry(path.to_owned())
            .or_insert_with(|| Hash::OfOpen(Arc::new(open)));
        Ok(())
    }

    /// Returns the paths of the files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// Returns the hash of a file that was read; `None` if it was not.
    ///
    /// # Errors
    /// The file has changed since it was opened, or cannot be read.
    pub(crate) fn hash(&self, path: &Path) -> Result<Option<&str>> {
        match self.0.get(path) {
            None => Ok(None),
            Some(Hash::Known(hash)) => Ok(Some(hash)),
            Some(Hash::OfOpen(open)) => open.hash(path).map(Some),
        }
    }
}

impl OpenFile {
    fn hash(&self, path: &Path) -> Result<&str> {
        if let Some(hash) = self.hash.get() {
            return Ok(hash);
        }
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0)).at(path)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file).at(path)?;
        if state(&self.file).at(path)? != self.state {
            return Err(error_at(path, "has changed since it was opened; run again"));
        }
        let hash = hasher.finalize().to_hex().to_string();
        Ok(self.hash.get_or_init(|| hash))
    }
}

fn state(file: &File) -> std::io::Result<(u64, Option<SystemTime>)> {
    let metadata = file.metadata()?;
    Ok((metadata.len(), metadata.modified().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_was_opened_is_hashed_when_asked() {
        let path = std::env::temp_dir().join(format!("read-files-{}", std::process::id()));
        fs::write(&path, b"weights").expect("written");
        let mut files = ReadFiles::default();
        files
            .insert_open(&path, File::open(&path).expect("open"))
            .expect("a file");
        // Another file under its name does not count.
        let other = path.with_extension("other");
        fs::write(&other, b"others").expect("written");
        fs::rename(&other, &path).expect("renamed");
        let expected = blake3::hash(b"weights").to_hex().to_string();
        assert_eq!(files.hash(&path).expect("read"), Some(expected.as_str()));
        let mut changed = ReadFiles::default();
        changed
            .insert_open(&path, File::open(&path).expect("open"))
            .expect("a file");
        fs::write(&path, b"longer than before").expect("written");
        let error = changed.hash(&path).expect_err("changed").to_string();
        assert!(error.ends_with("has changed since it was opened; run again"));
        fs::remove_file(&path).expect("removed");
    }
}
