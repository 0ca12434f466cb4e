//! Which rows a part has, without their floats.
use super::location::{KEY, check_layer, guarded};
use crate::Result;
use crate::cache::rows::RowKey;
use crate::data::store;
use arrow::array::AsArray;
use arrow::datatypes::UInt32Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::path::Path;

/// Indices of the columns.
const ID: usize = 1;
const SAMPLES: usize = 2;

/// What a row was computed of.
pub(in crate::cache) struct RowIdentity {
    pub(in crate::cache) key: RowKey,
    pub(in crate::cache) id: String,
    pub(in crate::cache) samples: u32,
}

/// Returns key, id and length of each row of a part.
///
/// # Errors
/// The file cannot be read as a part.
pub(in crate::cache) fn identities(path: &Path) -> Result<Vec<RowIdentity>> {
    guarded(|| read(path))
}

fn read(path: &Path) -> Result<Vec<RowIdentity>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(store::open(path)?)?;
    check_layer(path, &reader)?;
    let columns = ProjectionMask::roots(reader.parquet_schema(), [KEY, ID, SAMPLES]);
    let mut rows = vec![];
    for batch in reader.with_projection(columns).build()? {
        let batch = batch?;
        let keys = batch.column(0).as_fixed_size_binary_opt();
        let ids = batch.column(1).as_string_opt::<i32>();
        let samples = batch.column(2).as_primitive_opt::<UInt32Type>();
        let (Some(keys), Some(ids), Some(samples)) = (keys, ids, samples) else {
            return Err("its columns are not those of a part".into());
        };
        for row in 0..batch.num_rows() {
            rows.push(RowIdentity {
                key: keys.value(row).try_into()?,
                id: ids.value(row).to_owned(),
                samples: samples.value(row),
            });
        }
    }
    Ok(rows)
}
