//! Files of a cache: their names, and what killed processes leave of them.
use super::{layer, part};
use crate::data::file;
use crate::kmeans::residual::FILE as CODEBOOKS;
use std::path::{Path, PathBuf};

/// Hex digits of the hashes that name folders and parts.
pub(super) const HASH_DIGITS: usize = 16;
/// The file of remembered hashes, in the cache's folder.
pub(super) const FILE_HASHES: &str = "files.json";
/// The file in the folder of a fingerprint that describes it.
pub(super) const FINGERPRINT: &str = "fingerprint.json";

/// Removes unfinished files of dead processes from the cache in `root`.
pub(super) fn remove_leftovers(root: &Path) {
    file::remove_leftovers(root, &|name| name == FILE_HASHES);
    for (name, folder) in entries(root) {
        if is_short_hash(&name) {
            file::remove_leftovers(&folder, &|name| [FINGERPRINT, CODEBOOKS].contains(&name));
            for (name, layer) in entries(&folder) {
                if layer::entry_of_folder(&name).is_some() {
                    file::remove_leftovers(&layer, &part::is_name);
                }
            }
        }
    }
}

/// Returns names and paths of what is in a folder.
pub(super) fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                entry.path(),
            )
        })
        .collect()
}

/// Returns whether `name` may be a short hash.
pub(super) fn is_short_hash(name: &str) -> bool {
    let is_hex_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.len() == HASH_DIGITS && name.bytes().all(is_hex_digit)
}
