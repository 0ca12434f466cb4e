//! How much of a Parquet file is in memory at a time.
use super::{AudioTable, pages};
use crate::Result;

/// How many bytes of rows are in memory together when all are read; one row group in any case.
const MAX_BYTES: u64 = 512 << 20;

/// How many rows are in memory together when all are read; one row group in any case.
const MAX_ROWS: i64 = 1 << 20;

/// The most bytes of a row.
pub(super) const MAX_ROW_BYTES: u64 = 256 << 20;

/// The most unpacked bytes of a page.
const MAX_PAGE_BYTES: u64 = 512 << 20;

impl AudioTable {
    /// Returns the end of the row groups from `first` on that fit into memory together.
    pub(super) fn end_of_parallel_groups(&self, first: usize) -> usize {
        let groups = self.metadata.metadata().row_groups();
        let mut bytes = self.group_bytes(first);
        let mut rows = groups[first].num_rows();
        let mut end = first + 1;
        while end < groups.len() {
            bytes = bytes.saturating_add(self.group_bytes(end));
            rows += groups[end].num_rows();
            if bytes > MAX_BYTES || rows > MAX_ROWS {
                break;
            }
            end += 1;
        }
        end
    }

    /// Returns the unpacked bytes that are read of a row group.
    fn group_bytes(&self, group: usize) -> u64 {
        let read = self.columns();
        let columns = self.metadata.metadata().row_group(group).columns();
        let sizes = columns
            .iter()
            .enumerate()
            .filter(|(leaf, _)| read.leaf_included(*leaf));
        sizes
            .map(|(_, column)| column.uncompressed_size().max(0) as u64)
            .sum()
    }

    /// Returns the mean bytes of the rows of a row group.
    fn mean_row_bytes(&self, group: usize) -> u64 {
        let rows = self.metadata.metadata().row_group(group).num_rows().max(1) as u64;
        self.group_bytes(group) / rows
    }

    /// Returns how many rows of a row group may be in memory together; one at least.
    pub(super) fn fitting_rows(&self, group: usize) -> usize {
        let fitting = MAX_BYTES / 8 / self.mean_row_bytes(group).max(1);
        fitting.max(1) as usize
    }

    /// Checks that no row and no page, which is unpacked as a whole, is too large.
    pub(super) fn check_sizes(&self) -> Result<()> {
        let read = self.columns();
        for (group, row_group) in self.metadata.metadata().row_groups().iter().enumerate() {
            let bytes = self.mean_row_bytes(group);
            if bytes > MAX_ROW_BYTES {
                return Err(format!(
                    "the rows of row group {group} have {} MiB on average; at most {} MiB are read",
                    bytes >> 20,
                    MAX_ROW_BYTES >> 20
                )
                .into());
            }
            for (leaf, column) in row_group.columns().iter().enumerate() {
                let size = column.uncompressed_size().max(0) as u64;
                if !read.leaf_included(leaf) || size <= MAX_PAGE_BYTES {
                    continue;
                }
                let (start, length) = column.byte_range();
                let end = start.saturating_add(length);
                let page = pages::largest(self.file.reopen(&self.path)?, start, end)?;
                if page > MAX_PAGE_BYTES {
                    return Err(format!(
                        "row group {group} has a page of {} MiB; at most {} MiB are read: write \
                         it with smaller row groups",
                        page >> 20,
                        MAX_PAGE_BYTES >> 20
                    )
                    .into());
                }
            }
        }
        Ok(())
    }
}
