//! Labels in files: of clusters, one per 20 ms frame, in Parquet and fairseq's `.km`; text of
//! utterances, one a line.
pub(crate) mod km;
pub(crate) mod lines;
pub(crate) mod table;

use crate::Result;
use crate::data::column;
use crate::data::column::{FRAMES, ID, LABEL};
use crate::data::error::PathContext;
use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt32Array};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The labels of each utterance, by its id.
pub(crate) type Labels = BTreeMap<String, Vec<u32>>;

/// The name of the Parquet file that `save-labels` writes.
pub(crate) const TABLE: &str = "labels.parquet";

/// Returns whether a label file contains the ids of its utterances. A Parquet file does; the lines
/// of a `.km` are in the order of a manifest.
pub(crate) fn has_ids(path: &str) -> bool {
    path.ends_with(".parquet")
}

/// Reads labels: from a `.km` whose lines are in the order of `ids`, or without `ids` from a
/// Parquet file. The ids of what is read are in the Unicode form NFC.
///
/// # Errors
/// They name the file, and the line of a `.km`.
pub(crate) fn read(path: &Path, ids: Option<Vec<String>>) -> Result<Labels> {
    match ids {
        Some(ids) => km::read(path, ids).at(path),
        None => table::read(path).at(path),
    }
}

/// Builds the batch with the columns [`column::LABELS`]; row `i` has the next `counts[i]` of the
/// labels.
pub(crate) fn batch(ids: ArrayRef, labels: Vec<u32>, counts: &[usize]) -> Result<RecordBatch> {
    let frames = UInt32Array::from_iter_values(counts.iter().map(|count| *count as u32));
    let labels = column::label_lists(labels, counts.iter().copied());
    column::batch(vec![
        (ID, ids),
        (FRAMES, Arc::new(frames)),
        (LABEL, Arc::new(labels)),
    ])
}

/// Builds the batch with the columns [`column::LABELS`] from rows of (id, labels).
pub(crate) fn rows<'a>(rows: impl Iterator<Item = (&'a str, &'a [u32])>) -> Result<RecordBatch> {
    let (ids, labels): (Vec<&str>, Vec<&[u32]>) = rows.unzip();
    let counts: Vec<usize> = labels.iter().map(|row| row.len()).collect();
    batch(Arc::new(StringArray::from(ids)), labels.concat(), &counts)
}
