//! Hidden states of a frozen model for the rows of a batch: tensors where they are made and measured, columns where they
//! cross threads or lie in a cache. On a GPU that is where its memory ends, so a value turns into the other form here and
//! nowhere else.
use crate::Result;
use crate::data::column;
use crate::data::column::{FRAMES, HIDDEN, ID};
use crate::data::entry::Entry;
use arrow::array::{ArrayRef, UInt32Array};
use arrow::record_batch::RecordBatch;
use compute::tensor::{Hidden, PendingUpload, Spans, read};
use std::sync::Arc;

#[derive(Clone)]
pub struct Targets {
    id: ArrayRef,
    layers: PendingUpload,
}

impl Targets {
    /// What was computed here for the rows of these ids: a tensor a layer, of all rows.
    pub fn new(id: ArrayRef, layers: Vec<Hidden>) -> Targets {
        Targets {
            id,
            layers: PendingUpload::here(layers),
        }
    }

    /// What a batch of the columns [`column::TARGETS`] holds: so many layers, `width` wide. A GPU fetches it beside what it
    /// computes.
    pub fn of(batch: &RecordBatch, layers: usize, width: usize) -> Result<Targets> {
        let frames = column::u32s(batch, FRAMES)?;
        let layer = |at| {
            let row = |row| column::floats_of_layer(batch, HIDDEN, row, at);
            let rows = (0..frames.len()).map(row).collect::<Result<Vec<_>>>()?;
            let fits = rows
                .iter()
                .zip(frames)
                .all(|(row, &n)| row.len() == n as usize * width);
            if fits {
                Ok(rows)
            } else {
                Err(format!("a target is not {width} wide").into())
            }
        };
        let rows = (0..layers).map(layer).collect::<Result<Vec<_>>>()?; // (layers)(rows)
        let (id, spans) = (
            column::get(batch, ID)?.clone(),
            Spans::new(frames.iter().map(|&n| n as usize)),
        );
        Ok(Targets {
            id,
            layers: PendingUpload::send(&rows, width, spans),
        })
    }

    /// A tensor a layer, to be read from now on.
    pub fn layers(&self) -> &[Hidden] {
        self.layers.wait()
    }

    /// The columns [`column::TARGETS`].
    pub fn batch(&self) -> Result<RecordBatch> {
        let layers: Vec<_> = self
            .layers()
            .iter()
            .map(|h| (h.width(), read(&h.values)))
            .collect();
        let spans = self
            .layers()
            .first()
            .map(|hidden| hidden.spans.clone())
            .unwrap_or(Spans::new([]));
        let all = spans.iter().flat_map(|row| {
            layers
                .iter()
                .map(move |(w, x)| &x[row.start * w..row.end * w])
        });
        columns(
            self.id.clone(),
            spans.lengths().map(|n| n as u32),
            &all.collect::<Vec<_>>(),
        )
    }
}

/// As [`Targets::batch`], for `rows` whose entries in a cache these are: (rows)(layers).
pub fn of_entries(rows: &RecordBatch, entries: &[Vec<Entry>]) -> Result<RecordBatch> {
    let all: Vec<&[f32]> = entries
        .iter()
        .flatten()
        .map(|entry| &*entry.values)
        .collect();
    let frames = entries
        .iter()
        .map(|row| row.first().map_or(0, |entry| entry.frames));
    columns(column::get(rows, ID)?.clone(), frames, &all)
}

/// What such a batch holds for a row and the layer at this place.
pub fn entry(sent: &RecordBatch, row: usize, place: usize) -> Result<Entry> {
    let values = column::floats_of_layer(sent, HIDDEN, row, place)?.to_vec();
    Ok(Entry {
        frames: column::u32s(sent, FRAMES)?[row],
        values,
    })
}

/// `all`: row by row, each layer's numbers.
fn columns(id: ArrayRef, frames: impl Iterator<Item = u32>, all: &[&[f32]]) -> Result<RecordBatch> {
    let (rows, frames) = (id.len(), UInt32Array::from_iter_values(frames));
    let layers = all.len().checked_div(rows).unwrap_or(0);
    let hidden = column::list_by_layer(all.concat(), all.iter().map(|x| x.len()), rows, layers)?;
    column::batch(vec![
        (ID, id),
        (FRAMES, Arc::new(frames)),
        (HIDDEN, Arc::new(hidden)),
    ])
}
