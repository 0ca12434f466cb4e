//! Rows that are looked for in a cache, without reading what is stored of them.
use super::input_rows::InputRows;
use super::rows::RowKey;
use super::{layer, part};
use crate::Result;
use crate::data::column;
use crate::node::StoredEntry;
use crate::node::port::Value;
use arrow::array::AsArray;
use arrow::datatypes::UInt32Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

/// Indices of the columns of a part.
const KEY: usize = 0;
const ID: usize = 1;
const SAMPLES: usize = 2;

/// Rows as a node receives them, by their keys.
pub struct SampledRows {
    rows: Vec<SampledRow>,
    most: usize,
}

struct SampledRow {
    key: RowKey,
    id: String,
    samples: u32,
}

/// What is stored of the sampled rows.
#[derive(Debug, PartialEq)]
pub struct EntryHits {
    pub entry: StoredEntry,
    pub stored: usize,
    /// Rows whose utterance is stored with the same length and other samples or mask.
    pub other_content: usize,
    /// Rows whose utterance is stored with other lengths only.
    pub other_length: usize,
    /// Rows whose utterance is not stored.
    pub unknown: usize,
    /// Parts that cannot be read.
    pub unreadable: usize,
}

/// How near a stored row is to a sampled one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    Unknown,
    OtherLength,
    OtherContent,
    Stored,
}

impl SampledRows {
    /// Samples up to `most` rows.
    pub fn new(most: usize) -> SampledRows {
        SampledRows { rows: vec![], most }
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds the rows of a batch of waveforms, and of masks where the node takes them.
    pub fn add(&mut self, speech: &Value, mask: Option<&Value>) -> Result<()> {
        let rows = InputRows {
            speech: speech.batch()?,
            mask: mask.map(Value::batch).transpose()?,
        };
        let ids = column::texts(&rows.speech, column::ID)?;
        let samples = column::floats_by_row(&rows.speech, column::SAMPLES)?;
        for (row, key) in rows.keys()?.into_iter().enumerate() {
            if self.rows.len() == self.most {
                break;
            }
            self.rows.push(SampledRow {
                key,
                id: ids.value(row).to_owned(),
                samples: samples[row].len() as u32,
            });
        }
        Ok(())
    }

    /// Looks for an entry of the rows below the folder of a fingerprint.
    pub(super) fn hits(&self, folder: &Path, entry: StoredEntry) -> Result<EntryHits> {
        let mut found = vec![Nearness::Unknown; self.rows.len()];
        let mut rows_by_id: HashMap<&str, Vec<usize>> = HashMap::new();
        for (row, sampled) in self.rows.iter().enumerate() {
            rows_by_id.entry(&sampled.id).or_default().push(row);
        }
        let mut rows_by_key: HashMap<RowKey, Vec<usize>> = HashMap::new();
        for (row, sampled) in self.rows.iter().enumerate() {
            rows_by_key.entry(sampled.key).or_default().push(row);
        }
        let mut unreadable = 0;
        for path in part::list(&folder.join(layer::folder_name(entry)))? {
            let read = for_each_row(&path, |key, id, samples| {
                for &row in rows_by_id.get(id).into_iter().flatten() {
                    let nearness = if samples == self.rows[row].samples {
                        Nearness::OtherContent
                    } else {
                        Nearness::OtherLength
                    };
                    found[row] = found[row].max(nearness);
                }
                for &row in rows_by_key.get(&key).into_iter().flatten() {
                    found[row] = Nearness::Stored;
                }
            });
            unreadable += usize::from(read.is_err());
        }
        let count = |nearness| found.iter().filter(|&&f| f == nearness).count();
        Ok(EntryHits {
            entry,
            stored: count(Nearness::Stored),
            other_content: count(Nearness::OtherContent),
            other_length: count(Nearness::OtherLength),
            unknown: count(Nearness::Unknown),
            unreadable,
        })
    }
}

/// Calls `visit` with key, id and samples of each row of a part.
fn for_each_row(path: &Path, mut visit: impl FnMut(RowKey, &str, u32)) -> Result<()> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let columns = ProjectionMask::roots(reader.parquet_schema(), [KEY, ID, SAMPLES]);
    for batch in reader.with_projection(columns).build()? {
        let batch = batch?;
        let keys = batch.column(0).as_fixed_size_binary_opt();
        let ids = batch.column(1).as_string_opt::<i32>();
        let samples = batch.column(2).as_primitive_opt::<UInt32Type>();
        let (Some(keys), Some(ids), Some(samples)) = (keys, ids, samples) else {
            return Err("its columns are not those of a part".into());
        };
        for row in 0..batch.num_rows() {
            let key = keys.value(row).try_into()?;
            visit(key, ids.value(row), samples.value(row));
        }
    }
    Ok(())
}
