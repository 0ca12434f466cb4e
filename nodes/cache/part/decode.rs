//! Reads a part as other programs do, and compares it with what a run reads.
use super::location::{VALUES, locations};
use super::read_encoded;
use crate::Result;
use crate::cache::codec::{EntryCodec, little_endian};
use crate::cache::fingerprint::Fingerprint;
use crate::data::store;
use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{Float16Type, Float32Type, UInt32Type};
use half::f16;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::path::Path;

/// Decodes every value of a part with the parquet crate, and compares it with what
/// [`read_encoded`] returns.
pub(in crate::cache) fn decode(
    path: &Path,
    fingerprint: &Fingerprint,
    codec: &EntryCodec,
) -> Result<()> {
    let mut locations = locations(path, fingerprint, codec)?.into_iter();
    let reader = ParquetRecordBatchReaderBuilder::try_new(store::open(path)?)?;
    for batch in reader.with_batch_size(64).build()? {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            let (_, location) = locations.next().ok_or("it has more rows than pages")?;
            let mut decoded = vec![];
            for column in &batch.columns()[VALUES..] {
                decoded.extend(stored_bytes(column, row)?);
            }
            if decoded != read_encoded(path, location, codec)?.bytes {
                return Err("the values of a row are not those of its frames and width".into());
            }
        }
    }
    Ok(())
}

/// Returns the little-endian bytes of a row of numbers, or of bytes.
fn stored_bytes(values: &ArrayRef, row: usize) -> Result<Vec<u8>> {
    if let Some(bytes) = values.as_binary_opt::<i32>() {
        return Ok(bytes.value(row).to_vec());
    }
    let lists = values.as_list_opt::<i32>().ok_or("values are no lists")?;
    let list = lists.value(row);
    if let Some(floats) = list.as_primitive_opt::<Float32Type>() {
        return Ok(little_endian(floats.values(), f32::to_le_bytes));
    }
    if let Some(classes) = list.as_primitive_opt::<UInt32Type>() {
        return Ok(little_endian(classes.values(), u32::to_le_bytes));
    }
    let halves = list.as_primitive_opt::<Float16Type>();
    let halves = halves.ok_or("values are no numbers")?;
    Ok(little_endian(halves.values(), f16::to_le_bytes))
}
