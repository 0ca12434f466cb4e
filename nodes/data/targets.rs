//! Hidden states of a frozen model for the rows of a batch.
//!
//! They are tensors where they are computed and compared, and columns of a batch between threads
//! and in a cache. The conversions between the two forms, and so between a GPU's memory and the
//! host's, are all here.
use crate::Result;
use crate::data::column;
use crate::data::column::{FRAMES, HIDDEN, ID};
use crate::data::entry::Entry;
use arrow::array::{ArrayRef, UInt32Array};
use arrow::record_batch::RecordBatch;
use compute::tensor::{Hidden, PendingUpload, Spans, read};
use std::sync::Arc;

/// The hidden states of a batch's rows, with the ids of the rows.
#[derive(Clone)]
pub struct Targets {
    ids: ArrayRef,
    layers: PendingUpload,
}

impl Targets {
    /// Wraps hidden states that were computed on this device: one tensor per layer, over all rows.
    pub fn new(ids: ArrayRef, layers: Vec<Hidden>) -> Targets {
        Targets {
            ids,
            layers: PendingUpload::ready(layers),
        }
    }

    /// Reads `layers` layers of `width` values per frame from a batch with the columns
    /// [`column::TARGETS`].
    ///
    /// On a GPU the upload runs beside its computations.
    pub fn from_batch(batch: &RecordBatch, layers: usize, width: usize) -> Result<Targets> {
        let frames = column::u32s(batch, FRAMES)?;
        let mut values = Vec::with_capacity(layers); // (layers)(rows)
        for layer in 0..layers {
            let rows = (0..frames.len())
                .map(|row| column::floats_of_layer(batch, HIDDEN, row, layer))
                .collect::<Result<Vec<_>>>()?;
            for (row, &frames) in rows.iter().zip(frames) {
                if row.len() != frames as usize * width {
                    return Err(format!("a target is not {width} wide").into());
                }
            }
            values.push(rows);
        }
        let spans = Spans::new(frames.iter().map(|&frames| frames as usize));
        Ok(Targets {
            ids: column::get(batch, ID)?.clone(),
            layers: PendingUpload::send(&values, width, spans),
        })
    }

    /// Returns one tensor per layer, over all rows. Waits for the upload.
    pub fn layers(&self) -> &[Hidden] {
        self.layers.wait()
    }

    /// Returns the batch with the columns [`column::TARGETS`].
    pub fn batch(&self) -> Result<RecordBatch> {
        let hiddens = self.layers();
        let spans = hiddens
            .first()
            .map_or(Spans::new([]), |hidden| hidden.spans.clone());
        let layers: Vec<_> = hiddens
            .iter()
            .map(|hidden| (hidden.width(), read(&hidden.values)))
            .collect();
        let mut values: Vec<&[f32]> = vec![];
        for row in spans.iter() {
            for (width, layer) in &layers {
                values.push(&layer[row.start * width..row.end * width]);
            }
        }
        let frames = spans.lengths().map(|frames| frames as u32);
        targets_batch(self.ids.clone(), frames, &values)
    }
}

/// Returns the batch with the columns [`column::TARGETS`] for `rows`, whose cached entries are
/// `entries`: (rows)(layers).
pub fn batch_from_entries(rows: &RecordBatch, entries: &[Vec<Entry>]) -> Result<RecordBatch> {
    let values: Vec<&[f32]> = entries
        .iter()
        .flatten()
        .map(|entry| &*entry.values)
        .collect();
    let frames = entries
        .iter()
        .map(|layers| layers.first().map_or(0, |entry| entry.frames));
    targets_batch(column::get(rows, ID)?.clone(), frames, &values)
}

/// Returns the entry of a row and a layer of a batch with the columns [`column::TARGETS`]; `layer`
/// is the layer's index in the batch.
pub fn entry(batch: &RecordBatch, row: usize, layer: usize) -> Result<Entry> {
    Ok(Entry {
        frames: column::u32s(batch, FRAMES)?[row],
        values: column::floats_of_layer(batch, HIDDEN, row, layer)?.to_vec(),
    })
}

/// Builds the batch; `values` holds each row's layers, row by row.
fn targets_batch(
    ids: ArrayRef,
    frames: impl Iterator<Item = u32>,
    values: &[&[f32]],
) -> Result<RecordBatch> {
    let rows = ids.len();
    let layers = values.len().checked_div(rows).unwrap_or(0);
    let frames = UInt32Array::from_iter_values(frames);
    let lengths = values.iter().map(|layer| layer.len());
    let hidden = column::list_by_layer(values.concat(), lengths, rows, layers)?;
    column::batch(vec![
        (ID, ids),
        (FRAMES, Arc::new(frames)),
        (HIDDEN, Arc::new(hidden)),
    ])
}
