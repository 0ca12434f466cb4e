//! The input of `cluster` and `label`: frames of one width. `fbank` sends one every 10 ms; a
//! teacher sends one every 20 ms, and must send a single layer.
use crate::Result;
use crate::data::column;
use crate::data::column::{HIDDEN, ID};
use crate::node::OptionError;
use crate::node::port::{Carries, Port, Shape, Shapes, shape_of};
use arrow::record_batch::RecordBatch;

/// The port that takes either. It requires only the column both have; [`width`] rejects others.
pub const PORT: Port = Port::new("features", Carries::Batch(&[ID]));

/// Returns the number of values per frame, or `None` if an error upstream leaves it unknown.
///
/// # Errors
/// The input carries something other than features or one layer of targets.
pub fn width(inputs: &Shapes) -> Result<Option<usize>, OptionError> {
    match shape_of(inputs, PORT.name) {
        None => Ok(None),
        Some(Shape::Features { width }) => Ok(Some(*width)),
        Some(Shape::Hiddens { layers, width, .. }) if layers.len() == 1 => Ok(Some(*width)),
        Some(Shape::Hiddens { layers, .. }) => Err(OptionError::input(
            PORT.name,
            format!("takes targets of one layer, not of layers {layers:?}"),
        )),
        Some(_) => Err(OptionError::input(
            PORT.name,
            "wants features, or targets of one layer",
        )),
    }
}

/// Returns the number of values per frame, for a node that is being built.
pub fn known_width(inputs: &Shapes) -> Result<usize> {
    let width = width(inputs).map_err(|error| error.message)?;
    Ok(width.ok_or("the width of `features` is unknown")?)
}

/// The frames of a batch.
pub struct FrameRows<'a> {
    /// The frames of each row, (frames, width).
    pub rows: Vec<&'a [f32]>,
    /// The number of frames per 20 ms.
    pub per_label: usize,
}

/// Reads the frames of a batch from `fbank` or a teacher.
pub fn rows(batch: &RecordBatch) -> Result<FrameRows<'_>> {
    if batch.column_by_name(HIDDEN.name).is_none() {
        return Ok(FrameRows {
            rows: column::floats_by_row(batch, column::FEATURES)?,
            per_label: 2,
        });
    }
    let rows = (0..batch.num_rows())
        .map(|row| column::floats_of_layer(batch, HIDDEN, row, 0))
        .collect::<Result<_>>()?;
    Ok(FrameRows { rows, per_label: 1 })
}
