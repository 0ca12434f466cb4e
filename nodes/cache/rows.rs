//! Rows that are not in a file of the cache yet.
use super::codec::{Encoded, EntryCodec};
use crate::Result;
use crate::data::entry::Entry;
use arrow::array::{
    ArrayRef, BinaryArray, FixedSizeBinaryArray, ListArray, PrimitiveArray, RecordBatch,
    StringArray, UInt32Array,
};
use arrow::buffer::{Buffer, MutableBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowPrimitiveType, Field, Float16Type, Float32Type};
use std::sync::Arc;

/// The column of a row's values where these are lists of floats.
pub(super) const HIDDEN: &str = "hidden";
/// The column of a row's values where these are bytes.
pub(super) const BINARY: &str = "binary";

/// Identifies a row: a hash of what the node receives.
pub(super) type RowKey = [u8; 16];

/// Returns 16 bytes of BLAKE3 of the number of samples as u64, the samples as f32, both
/// little-endian, and one byte per frame of the mask if there is one.
pub(super) fn row_key(samples: &[f32], mask: &[bool]) -> RowKey {
    let samples_bytes: Vec<[u8; 4]> = samples.iter().map(|x| x.to_le_bytes()).collect();
    let mask_bytes: Vec<u8> = mask.iter().map(|&masked| u8::from(masked)).collect();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(samples.len() as u64).to_le_bytes());
    hasher.update(samples_bytes.as_flattened());
    hasher.update(&mask_bytes);
    let mut key = RowKey::default();
    key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    key
}

/// Rows of one layer, in the columns of a part.
pub(super) struct UnwrittenRows {
    codec: EntryCodec,
    keys: Vec<RowKey>,
    ids: Vec<String>,
    samples: Vec<u32>,
    frames: Vec<u32>,
    width: Vec<u32>,
    /// The encoded values of all rows, aligned as an array of numbers.
    values: MutableBuffer,
    /// The number of bytes of each row's values.
    lengths: Vec<usize>,
    /// The offset of each row's first byte.
    starts: Vec<usize>,
}

impl UnwrittenRows {
    /// Begins without rows.
    pub(super) fn new(codec: EntryCodec) -> UnwrittenRows {
        UnwrittenRows {
            codec,
            keys: vec![],
            ids: vec![],
            samples: vec![],
            frames: vec![],
            width: vec![],
            values: MutableBuffer::new(0),
            lengths: vec![],
            starts: vec![],
        }
    }

    /// Appends a row.
    pub(super) fn push(&mut self, key: RowKey, id: &str, samples: u32, row: &Encoded) {
        self.width.push(row.width);
        self.keys.push(key);
        self.ids.push(id.to_owned());
        self.samples.push(samples);
        self.frames.push(row.frames);
        self.starts.push(self.values.len());
        self.lengths.push(row.bytes.len());
        self.values.extend_from_slice(&row.bytes);
    }

    /// Returns the number of rows.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns the number of bytes of all values.
    pub(super) fn bytes(&self) -> usize {
        self.values.len()
    }

    /// Returns the entry of a row.
    pub(super) fn entry(&self, row: usize) -> Entry {
        let start = self.starts[row];
        let bytes = &self.values.as_slice()[start..start + self.lengths[row]];
        self.codec.decode(self.frames[row], self.width[row], bytes)
    }

    /// Returns the columns of a part. Values that are floats of 32 or 16 bits are lists of them,
    /// others the bytes of a row.
    pub(super) fn into_batch(self) -> Result<RecordBatch> {
        let keys = Buffer::from_vec(self.keys.into_flattened());
        let keys = FixedSizeBinaryArray::try_new(16, keys, None)?;
        let values = Buffer::from(self.values);
        let (name, values): (_, ArrayRef) = match self.codec {
            EntryCodec::F32 => {
                let lengths = self.lengths.iter().map(|bytes| bytes / 4);
                (HIDDEN, Arc::new(floats::<Float32Type>(values, lengths)?))
            }
            EntryCodec::F16 => {
                let lengths = self.lengths.iter().map(|bytes| bytes / 2);
                (HIDDEN, Arc::new(floats::<Float16Type>(values, lengths)?))
            }
            EntryCodec::Bf16 | EntryCodec::Int8(_) | EntryCodec::MultiCodebook(_) => {
                let offsets = OffsetBuffer::from_lengths(self.lengths);
                (
                    BINARY,
                    Arc::new(BinaryArray::try_new(offsets, values, None)?),
                )
            }
        };
        let columns: [(&str, ArrayRef); 6] = [
            ("key", Arc::new(keys)),
            ("id", Arc::new(StringArray::from_iter_values(self.ids))),
            ("samples", Arc::new(UInt32Array::from(self.samples))),
            ("frames", Arc::new(UInt32Array::from(self.frames))),
            ("width", Arc::new(UInt32Array::from(self.width))),
            (name, values),
        ];
        Ok(RecordBatch::try_from_iter(columns)?)
    }
}

/// Returns one list of floats for each row, of `lengths` floats.
fn floats<T: ArrowPrimitiveType>(
    values: Buffer,
    lengths: impl Iterator<Item = usize>,
) -> Result<ListArray> {
    let values = PrimitiveArray::<T>::try_new(ScalarBuffer::from(values), None)?;
    let item = Field::new_list_field(T::DATA_TYPE, false);
    let offsets = OffsetBuffer::from_lengths(lengths);
    let lists = ListArray::try_new(Arc::new(item), offsets, Arc::new(values), None);
    Ok(lists?)
}
