//! Numbers of clusters of whole utterances, one each 20 ms, in files: fairseq's `.km` and Parquet.
use crate::Result;
use crate::data::column;
use crate::data::column::{FRAMES, ID, LABEL};
use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt32Array};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub mod km;
pub mod table;

/// The labels of each utterance, by its id.
pub type Labels = BTreeMap<String, Vec<u32>>;

pub const TABLE: &str = "labels.parquet";

/// What a `.km` file needs besides, and a `.parquet` does not.
pub fn has_ids(path: &str) -> bool {
    path.ends_with(".parquet")
}

/// From a Parquet file, or from a `.km` whose lines have this manifest's order.
///
/// # Errors
/// They name the file, and the line.
pub fn read(path: &Path, ids: Option<Vec<String>>) -> Result<Labels> {
    let named = |e| format!("{}: {e}", path.display()).into();
    match ids {
        Some(ids) => km::read(path, ids).map_err(named),
        None => table::read(path).map_err(named),
    }
}

/// The batch of these labels, so many of each row.
pub fn batch(ids: ArrayRef, labels: Vec<u32>, counts: &[usize]) -> Result<RecordBatch> {
    let frames = UInt32Array::from_iter_values(counts.iter().map(|n| *n as u32));
    let columns: [(_, ArrayRef); 2] = [
        (FRAMES, Arc::new(frames)),
        (
            LABEL,
            Arc::new(column::label_lists(labels, counts.iter().copied())),
        ),
    ];
    column::batch([(ID, ids)].into_iter().chain(columns).collect())
}

/// The batch of these rows.
pub fn rows<'a>(rows: impl Iterator<Item = (&'a str, &'a [u32])>) -> Result<RecordBatch> {
    let (ids, rows): (Vec<&str>, Vec<&[u32]>) = rows.unzip();
    let counts: Vec<usize> = rows.iter().map(|row| row.len()).collect();
    batch(Arc::new(StringArray::from(ids)), rows.concat(), &counts)
}
