//! Names of the files of a cache.
use crate::data::store;
use std::path::{Path, PathBuf};

/// Hex digits of the hashes that name folders and parts.
pub(super) const HASH_DIGITS: usize = 16;
/// The file of remembered hashes, in the cache's folder.
pub(super) const FILE_HASHES: &str = "files.json";
/// The file in the folder of a fingerprint that describes it.
pub(super) const FINGERPRINT: &str = "fingerprint.json";

/// Returns names and paths of what is in a folder.
pub(super) fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut entries = vec![];
    for path in store::list(folder).unwrap_or_default() {
        let name = path.file_name().unwrap_or_default();
        entries.push((name.to_string_lossy().into_owned(), path));
    }
    entries
}

/// Returns whether `name` may be a short hash.
pub(super) fn is_short_hash(name: &str) -> bool {
    let is_hex_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.len() == HASH_DIGITS && name.bytes().all(is_hex_digit)
}
