//! The lengths of a Parquet file's rows, by the headers of their audio.
use super::AudioTable;
use crate::Result;
use crate::data::error::PathContext;
use crate::data::panic::catch_panic;
use rayon::prelude::*;

impl AudioTable {
    /// Returns the number of samples of a row at 16 kHz. Errors name the file.
    pub(in crate::data::manifest) fn length(&self, row: usize) -> Result<u64> {
        catch_panic(|| self.row(row)).at(&self.path)?.length()
    }

    /// Returns the number of samples at 16 kHz of rows, whose numbers ascend. Errors name the file.
    pub(in crate::data::manifest) fn lengths(&self, rows: &[u32]) -> Vec<Result<u64>> {
        let by_group: Vec<&[u32]> = rows
            .chunk_by(|a, b| self.group_of(*a as usize) == self.group_of(*b as usize))
            .collect();
        let mut lengths = vec![];
        let mut next = 0;
        while next < by_group.len() {
            // As many row groups as fit into memory together.
            let group = |index: usize| self.group_of(by_group[index][0] as usize);
            let end = self.end_of_parallel_groups(group(next));
            let mut later = next + 1;
            while later < by_group.len() && group(later) < end {
                later += 1;
            }
            let read = by_group[next..later].par_iter();
            lengths.extend(
                read.map(|rows| self.lengths_in_group(rows))
                    .collect::<Vec<_>>(),
            );
            next = later;
        }
        lengths.into_iter().flatten().collect()
    }

    /// Returns the lengths of rows of one row group. A group that cannot be read is the error of each
    /// of its rows.
    fn lengths_in_group(&self, rows: &[u32]) -> Vec<Result<u64>> {
        let mut lengths = vec![];
        let group = self.group_of(rows[0] as usize);
        let read = || self.visit_rows(group, rows, |row| lengths.push(row.length()));
        let ended = catch_panic(read).at(&self.path);
        let message = match ended {
            Ok(()) => "its rows have changed".to_owned(),
            Err(error) => error.to_string(),
        };
        lengths.resize_with(rows.len(), || Err(message.as_str().into()));
        lengths
    }
}
