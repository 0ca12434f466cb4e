//! The parts of object stores that were verified last, whose bytes came for that: rows that are read
//! soon after need not be asked for again.
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most bytes of all parts that are kept; one in any case.
const BYTES: usize = 512 << 20;

type Parts = VecDeque<(PathBuf, Arc<Vec<u8>>)>;

fn parts() -> MutexGuard<'static, Parts> {
    static PARTS: Mutex<Parts> = Mutex::new(VecDeque::new());
    PARTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the bytes of a part in place of the oldest ones.
pub(super) fn keep(path: &Path, bytes: Vec<u8>) {
    let mut parts = parts();
    parts.push_back((path.to_owned(), Arc::new(bytes)));
    let mut kept: usize = parts.iter().map(|(_, bytes)| bytes.len()).sum();
    while kept > BYTES && parts.len() > 1 {
        kept -= parts.pop_front().map_or(0, |(_, bytes)| bytes.len());
    }
}

/// Fills `bytes` with those of a part from `offset` on. Returns whether the part is kept.
pub(super) fn copy(path: &Path, offset: u64, bytes: &mut [u8]) -> bool {
    let part = {
        let parts = parts();
        if parts.is_empty() {
            return false; // so that rows on a disk cost no comparison of paths
        }
        let found = parts.iter().find(|(kept, _)| kept == path);
        found.map(|(_, bytes)| bytes.clone())
    };
    let start = offset as usize;
    let found = part
        .as_ref()
        .and_then(|part| part.get(start..start.checked_add(bytes.len())?));
    if let Some(found) = found {
        bytes.copy_from_slice(found);
    }
    found.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_kept_parts_are_copied() {
        let path = Path::new("s3://bucket/recent-part");
        keep(path, vec![1, 2, 3, 4]);
        let mut row = [0; 2];
        assert!(copy(path, 1, &mut row));
        assert_eq!(row, [2, 3]);
        assert!(!copy(path, 3, &mut row));
        assert!(!copy(Path::new("s3://bucket/other"), 0, &mut row));
        keep(Path::new("s3://bucket/large"), vec![0; BYTES]);
        assert!(!copy(path, 1, &mut row));
    }
}
