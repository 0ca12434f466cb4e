//! Rows that are not in a file of the cache yet.
use super::codec::{Encoded, EntryCodec};
use crate::Result;
use crate::data::entry::Entry;
use arrow::array::{
    ArrayRef, BinaryArray, FixedSizeBinaryArray, ListArray, PrimitiveArray, RecordBatch,
    StringArray, UInt32Array,
};
use arrow::buffer::{Buffer, MutableBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowPrimitiveType, Field, Float16Type, Float32Type, UInt32Type};
use std::sync::Arc;

/// The column of a row's values where these are lists of floats.
pub(super) const HIDDEN: &str = "hidden";
/// The column of a row's values where these are bytes.
pub(super) const BINARY: &str = "binary";
/// The columns of a row's values where these are the largest logits: their classes, the logits, and
/// the probability of the other classes.
pub(super) const TOP_K: [&str; 3] = ["index", "value", "rest"];

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
        let values = match self.codec {
            EntryCodec::F32 => vec![(HIDDEN, numbers::<Float32Type>(self.values, &self.lengths)?)],
            EntryCodec::F16 => vec![(HIDDEN, numbers::<Float16Type>(self.values, &self.lengths)?)],
            EntryCodec::Bf16 | EntryCodec::Int8(_) | EntryCodec::MultiCodebook(_) => {
                let offsets = OffsetBuffer::from_lengths(self.lengths);
                let values = BinaryArray::try_new(offsets, self.values.into(), None)?;
                vec![(BINARY, Arc::new(values) as ArrayRef)]
            }
            EntryCodec::TopK(_) => self.top_k_columns()?,
        };
        let keys = Buffer::from_vec(self.keys.into_flattened());
        let keys = FixedSizeBinaryArray::try_new(16, keys, None)?;
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("key", Arc::new(keys)),
            ("id", Arc::new(StringArray::from_iter_values(self.ids))),
            ("samples", Arc::new(UInt32Array::from(self.samples))),
            ("frames", Arc::new(UInt32Array::from(self.frames))),
            ("width", Arc::new(UInt32Array::from(self.width))),
        ];
        columns.extend(values);
        Ok(RecordBatch::try_from_iter(columns)?)
    }

    /// Returns the columns of the largest logits: each row's bytes are its part of the three, one
    /// after another.
    fn top_k_columns(&self) -> Result<Vec<(&'static str, ArrayRef)>> {
        let mut lengths: [Vec<usize>; 3] = Default::default();
        let mut values = [(); 3].map(|()| MutableBuffer::new(0));
        for (row, &start) in self.starts.iter().enumerate() {
            let sections = self.codec.sections(self.frames[row], self.width[row]);
            let mut bytes = &self.values.as_slice()[start..start + self.lengths[row]];
            for (column, section) in sections.unwrap_or_default().into_iter().enumerate() {
                let of_column;
                (of_column, bytes) = bytes.split_at(section as usize);
                lengths[column].push(of_column.len());
                values[column].extend_from_slice(of_column);
            }
        }
        let [classes, logits, rests] = values;
        let columns = [
            numbers::<UInt32Type>(classes, &lengths[0])?,
            numbers::<Float32Type>(logits, &lengths[1])?,
            numbers::<Float32Type>(rests, &lengths[2])?,
        ];
        Ok(TOP_K.into_iter().zip(columns).collect())
    }
}

/// Returns one list of numbers for each row, of `lengths` bytes.
fn numbers<T: ArrowPrimitiveType>(values: MutableBuffer, lengths: &[usize]) -> Result<ArrayRef> {
    let values = PrimitiveArray::<T>::try_new(ScalarBuffer::from(Buffer::from(values)), None)?;
    let item = Field::new_list_field(T::DATA_TYPE, false);
    let lengths = lengths.iter().map(|bytes| bytes / size_of::<T::Native>());
    let offsets = OffsetBuffer::from_lengths(lengths);
    let lists = ListArray::try_new(Arc::new(item), offsets, Arc::new(values), None);
    Ok(Arc::new(lists?))
}
