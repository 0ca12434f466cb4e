//! Rows that are looked for in a cache, without reading what is stored of them.
use super::input_rows::InputRows;
use super::rows::RowKey;
use super::{layer, part};
use crate::Result;
use crate::data::{column, store};
use crate::node::StoredEntry;
use crate::node::port::Value;
use std::collections::HashMap;
use std::path::Path;

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

/// Parts that have sampled rows are hashed up to so many bytes of an entry: a run finds a damaged one.
const HASHED_BYTES: u64 = 1 << 30;

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
        let mut hashed = 0;
        for path in part::list(&folder.join(layer::folder_name(entry)))? {
            let Ok(stored_rows) = part::identities(&path) else {
                unreadable += 1;
                continue;
            };
            let serves = stored_rows
                .iter()
                .any(|row| rows_by_key.contains_key(&row.key));
            if serves && hashed < HASHED_BYTES && !store::is_address(&path) {
                hashed += store::size(&path).unwrap_or_default();
                if part::verify(&path).is_err() {
                    unreadable += 1;
                    continue;
                }
            }
            for stored in stored_rows {
                for &row in rows_by_id.get(&*stored.id).into_iter().flatten() {
                    let nearness = if stored.samples == self.rows[row].samples {
                        Nearness::OtherContent
                    } else {
                        Nearness::OtherLength
                    };
                    found[row] = found[row].max(nearness);
                }
                for &row in rows_by_key.get(&stored.key).into_iter().flatten() {
                    found[row] = Nearness::Stored;
                }
            }
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
