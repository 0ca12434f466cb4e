//! The ids of a Parquet file's rows, for which the column of their paths is read and no audio.
use super::AudioTable;
use crate::Result;
use crate::data::panic::catch_panic;
use crate::data::texts::Texts;
use arrow::array::{Array, AsArray};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rayon::prelude::*;

/// How many rows are in memory together, at least; one row group in any case.
const ROWS: usize = 1 << 18;

/// How many rows are read at a time.
const BATCH_ROWS: usize = 4096;

impl AudioTable {
    /// Reads the ids of all rows: their paths, or the number of a row without one.
    pub(super) fn ids(&self) -> Result<Texts> {
        let mut ids = Texts::default();
        let mut group = 0;
        while group + 1 < self.group_starts.len() {
            let first = self.group_starts[group];
            let starts = &self.group_starts[group + 1..self.group_starts.len() - 1];
            let end = group + 1 + starts.partition_point(|start| start - first < ROWS);
            let paths: Vec<Texts> = (group..end)
                .into_par_iter()
                .map(|group| catch_panic(|| self.ids_of_group(group)))
                .collect::<Result<_>>()?;
            for id in paths.iter().flat_map(Texts::iter) {
                ids.push(&id);
            }
            group = end;
        }
        Ok(ids)
    }

    fn ids_of_group(&self, group: usize) -> Result<Texts> {
        let metadata = self.metadata.clone();
        let file = self.file.reopen(&self.path)?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_row_groups(vec![group])
            .with_projection(ProjectionMask::columns(
                self.metadata.parquet_schema(),
                ["audio.path"],
            ))
            .with_batch_size(BATCH_ROWS);
        let mut ids = Texts::default();
        for batch in reader.build()? {
            let batch = batch?;
            let audio = batch.column_by_name("audio");
            let audio = audio.and_then(|audio| audio.as_struct_opt());
            let paths =
                audio.and_then(|audio| audio.column_by_name("path")?.as_string_opt::<i32>());
            let paths = paths.ok_or("its columns have changed")?;
            for row in 0..paths.len() {
                match paths.is_valid(row) {
                    true => ids.push(paths.value(row)),
                    false => ids.push(&(self.group_starts[group] + ids.len()).to_string()),
                }
            }
        }
        Ok(ids)
    }
}
