//! Which bytes were read of which files, so that what is computed from them can be stored under
//! their hash, whatever happens to the files meanwhile.
use crate::Result;
use crate::data::error::PathContext;
use crate::data::text;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// BLAKE3, in hex, of the bytes that were read, by path.
#[derive(Clone, Default)]
pub struct ReadFiles(BTreeMap<PathBuf, String>);

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
            .or_insert_with(|| hash.to_hex().to_string());
    }

    /// Returns the hash of a file that was read.
    pub(crate) fn hash(&self, path: &Path) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }
}
