//! How many rows of a phase are stored when it begins, for the person who watches.
//!
//! A row's key is a hash of its samples, so the exact number is known only when all audio is
//! decoded. Rows of the same name and length are counted instead: with another crop or mask they
//! are others all the same, and then the count is too high.
use super::part;
use crate::data::store;
use crate::node::row_counts::{RowCounts, row_hash};
use std::path::Path;

/// Counts the rows of the parts of a layer's folder. A part that cannot be read counts as none: it is
/// reported when its rows are looked for.
pub(super) fn count(folder: &Path, parts: &[&Path]) -> RowCounts {
    let hashes = |path: &Path| {
        let rows = part::identities(path).unwrap_or_default().into_iter();
        rows.map(|row| row_hash(&row.id, row.samples.into()))
            .collect()
    };
    let hashes: Vec<Vec<u64>> = store::map_files(folder, parts.to_vec(), hashes);
    RowCounts::new(hashes.concat())
}
