//! What killed processes leave in a cache.
use super::files::{FILE_HASHES, FINGERPRINT, entries, is_short_hash};
use super::{layer, part};
use crate::data::{file, store};
use crate::kmeans::residual::FILE as CODEBOOKS;
use std::path::Path;

/// Removes unfinished files of dead processes from the cache in `root`.
///
/// A store has none: what is put there is complete, or is not there.
pub(super) fn remove(root: &Path) {
    if store::is_address(root) {
        return;
    }
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
