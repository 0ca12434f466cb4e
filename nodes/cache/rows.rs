//! Rows that are not in a file of the cache yet.
use crate::Result;
use crate::data::column;
use crate::data::entry::Entry;
use arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch, StringArray, UInt32Array};
use arrow::buffer::Buffer;
use std::sync::Arc;

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
#[derive(Default)]
pub(super) struct UnwrittenRows {
    keys: Vec<RowKey>,
    ids: Vec<String>,
    samples: Vec<u32>,
    frames: Vec<u32>,
    width: Vec<u32>,
    values: Vec<f32>,
    /// The number of values of each row.
    lengths: Vec<usize>,
    /// The index of each row's first value.
    starts: Vec<usize>,
}

impl UnwrittenRows {
    /// Appends a row.
    pub(super) fn push(
        &mut self,
        key: RowKey,
        id: &str,
        samples: usize,
        entry: &Entry,
    ) -> Result<()> {
        let width = entry
            .width()
            .ok_or("a row of hidden states is not frames x width floats")?;
        self.width.push(width);
        self.keys.push(key);
        self.ids.push(id.to_owned());
        self.samples.push(samples as u32);
        self.frames.push(entry.frames);
        self.starts.push(self.values.len());
        self.lengths.push(entry.values.len());
        self.values.extend_from_slice(&entry.values);
        Ok(())
    }

    /// Returns the number of rows.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns the number of bytes of all values.
    pub(super) fn bytes(&self) -> usize {
        4 * self.values.len()
    }

    /// Returns the entry of a row.
    pub(super) fn entry(&self, row: usize) -> Entry {
        let start = self.starts[row];
        Entry {
            frames: self.frames[row],
            values: self.values[start..start + self.lengths[row]].to_vec(),
        }
    }

    /// Returns the columns of a part.
    pub(super) fn into_batch(self) -> Result<RecordBatch> {
        let keys = Buffer::from_vec(self.keys.into_flattened());
        let keys = FixedSizeBinaryArray::try_new(16, keys, None)?;
        let columns: [(&str, ArrayRef); 6] = [
            ("key", Arc::new(keys)),
            ("id", Arc::new(StringArray::from_iter_values(self.ids))),
            ("samples", Arc::new(UInt32Array::from(self.samples))),
            ("frames", Arc::new(UInt32Array::from(self.frames))),
            ("width", Arc::new(UInt32Array::from(self.width))),
            ("hidden", Arc::new(column::list(self.values, self.lengths)?)),
        ];
        Ok(RecordBatch::try_from_iter(columns)?)
    }
}
