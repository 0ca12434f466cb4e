//! Files of a cache: how they are written, and what a killed process leaves of them.
use crate::Result;
use crate::data::file;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Hex digits of the hashes that name folders and parts.
pub(super) const HASH_DIGITS: usize = 16;

/// Excludes other writers of this process: two nodes may fill one cache, and the temporary names of
/// their files would be the same.
fn lock_writes() -> MutexGuard<'static, ()> {
    static WRITES: Mutex<()> = Mutex::new(());
    WRITES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a file of a cache atomically.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let _lock = lock_writes();
    file::write_atomic(path, bytes)
}

/// Removes the temporary files of processes that no longer run from the cache in `root`.
pub(super) fn remove_leftovers(root: &Path) {
    let _lock = lock_writes();
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        let writer = name.strip_prefix("files.json.tmp");
        if is_short_hash(name) {
            file::remove_leftovers(&path, &is_dead);
        } else if writer.and_then(|pid| pid.parse().ok()).is_some_and(is_dead) {
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Returns whether a process no longer runs, or is this one, which is not writing now. Without a
/// /proc no other process counts as dead.
fn is_dead(pid: u32) -> bool {
    let proc = Path::new("/proc");
    let has_proc = proc.join("self").exists();
    pid == std::process::id() || has_proc && !proc.join(pid.to_string()).exists()
}

/// Returns whether `name` may be a short hash.
pub(super) fn is_short_hash(name: &str) -> bool {
    let is_hex_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.len() == HASH_DIGITS && name.bytes().all(is_hex_digit)
}
