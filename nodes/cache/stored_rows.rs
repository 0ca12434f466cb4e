//! How many rows of a phase are stored when it begins, for the person who watches.
//!
//! A row's key is a hash of its samples, so the exact number is known only when all audio is
//! decoded. Rows of the same name and length are counted instead: with another crop or mask they
//! are others all the same, and then the count is too high.
use super::part;
use crate::Result;
use crate::data::store;
use crate::node::row_counts::{RowCounts, row_hash};
use arrow::array::AsArray;
use arrow::datatypes::UInt32Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::path::Path;

/// Indices of the columns.
const ID: usize = 1;
const SAMPLES: usize = 2;

/// Counts the rows of the parts in the folder of a layer. A part that cannot be read counts as none:
/// the store has reported it.
pub(super) fn count(folder: &Path) -> RowCounts {
    let mut hashes = vec![];
    for path in part::list(folder).unwrap_or_default() {
        let _ = add_part(&mut hashes, &path);
    }
    RowCounts::new(hashes)
}

fn add_part(hashes: &mut Vec<u64>, path: &Path) -> Result<()> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(store::open(path)?)?;
    let columns = ProjectionMask::roots(reader.parquet_schema(), [ID, SAMPLES]);
    for batch in reader.with_projection(columns).build()? {
        let batch = batch?;
        let ids = batch.column(0).as_string::<i32>();
        let samples = batch.column(1).as_primitive::<UInt32Type>();
        for (id, samples) in ids.iter().zip(samples) {
            let samples = samples.unwrap_or(0);
            hashes.push(row_hash(id.unwrap_or_default(), samples.into()));
        }
    }
    Ok(())
}
