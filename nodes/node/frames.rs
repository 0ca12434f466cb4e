//! What can be clustered and labelled: frames of one width, every 10 ms from `fbank`, or every 20 ms of one layer of a
//! teacher.
use crate::Result;
use crate::data::column;
use crate::data::column::{HIDDEN, ID};
use crate::node::OptionError;
use crate::node::port::{Carries, Port, Shape, Shapes};
use arrow::record_batch::RecordBatch;

/// Takes the edge of either kind; [`width`] tells other rows apart.
pub const PORT: Port = Port::new("features", Carries::Batch(&[ID]));

/// Numbers of a frame; None where a problem upstream hides what comes in.
pub fn width(inputs: &Shapes) -> Result<Option<usize>, OptionError> {
    let wrong = |says: String| {
        Err(OptionError::at(
            "inputs.features",
            format!("input `features`: {says}"),
        ))
    };
    match inputs.get(PORT.name).and_then(|shapes| shapes.first()) {
        None => Ok(None),
        Some(Shape::Features { width }) => Ok(Some(*width)),
        Some(Shape::Hiddens { layers, width }) if layers.len() == 1 => Ok(Some(*width)),
        Some(Shape::Hiddens { layers, .. }) => wrong(format!(
            "takes targets of one layer, not of layers {layers:?}"
        )),
        Some(_) => wrong("wants features, or targets of one layer".into()),
    }
}

/// The frames of each row, and how many of them are 20 ms.
pub fn rows(batch: &RecordBatch) -> Result<(Vec<&[f32]>, usize)> {
    if batch.column_by_name(HIDDEN.name).is_none() {
        return Ok((column::floats_by_row(batch, column::FEATURES)?, 2));
    }
    let row = |row| column::floats_of_layer(batch, HIDDEN, row, 0);
    Ok(((0..batch.num_rows()).map(row).collect::<Result<_>>()?, 1))
}
