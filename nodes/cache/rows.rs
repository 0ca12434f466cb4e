//! Rows as the cache holds them before they are in a file.
use crate::Result;
use crate::data::column;
use crate::data::entry::Entry;
use arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch, StringArray, UInt32Array};
use arrow::buffer::Buffer;
use std::sync::Arc;

/// What a row is found by: a hash of what the node receives.
pub type Key = [u8; 16];

/// 16 bytes of BLAKE3(number of samples as u64, samples as f32, both little-endian, mask a byte a frame if there is one).
pub fn key(samples: &[f32], mask: &[bool]) -> Key {
    let bytes: Vec<[u8; 4]> = samples.iter().map(|x| x.to_le_bytes()).collect();
    let mut hash = blake3::Hasher::new();
    hash.update(&(samples.len() as u64).to_le_bytes())
        .update(bytes.as_flattened());
    hash.update(&mask.iter().map(|&m| u8::from(m)).collect::<Vec<_>>());
    let mut key = Key::default();
    key.copy_from_slice(&hash.finalize().as_bytes()[..16]);
    key
}

/// Rows that are in no part yet.
#[derive(Default)]
pub struct Rows {
    keys: Vec<Key>,
    ids: Vec<String>,
    samples: Vec<u32>,
    frames: Vec<u32>,
    width: Vec<u32>,
    values: Vec<f32>,
    lengths: Vec<usize>,
    starts: Vec<usize>,
}

impl Rows {
    pub fn push(&mut self, key: Key, id: &str, samples: usize, entry: &Entry) -> Result<()> {
        self.width.push(
            entry
                .width()
                .ok_or("a row of hidden states is not frames x width floats")?,
        );
        self.keys.push(key);
        self.ids.push(id.to_owned());
        self.samples.push(samples as u32);
        self.frames.push(entry.frames);
        self.starts.push(self.values.len());
        self.lengths.push(entry.values.len());
        self.values.extend_from_slice(&entry.values);
        Ok(())
    }
    pub fn len(&self) -> usize {
        self.keys.len()
    }
    pub fn bytes(&self) -> usize {
        4 * self.values.len()
    }
    pub fn entry(&self, row: usize) -> Entry {
        let start = self.starts[row];
        Entry {
            frames: self.frames[row],
            values: self.values[start..start + self.lengths[row]].to_vec(),
        }
    }
    /// The columns of a part.
    pub fn batch(self) -> Result<RecordBatch> {
        let keys =
            FixedSizeBinaryArray::try_new(16, Buffer::from_vec(self.keys.into_flattened()), None)?;
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
