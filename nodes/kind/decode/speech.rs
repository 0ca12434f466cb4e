//! The rows of waveforms that `decode` sends.
use crate::Result;
use crate::data::column;
use crate::node::port::Value;
use arrow::array::{StringArray, UInt64Array};
use std::sync::Arc;

/// The rows of a batch.
#[derive(Default)]
pub(super) struct Speech {
    pub ids: Vec<String>,
    /// The samples at 16 kHz, row after row.
    pub samples: Vec<f32>,
    /// The number of samples of each row.
    pub lengths: Vec<usize>,
}

impl Speech {
    /// Returns the batch with the columns [`column::SPEECH`].
    pub(super) fn into_value(self, view: u64) -> Result<Value> {
        let rows = self.ids.len();
        let samples = column::list(self.samples, self.lengths)?;
        Ok(Value::Batch(column::batch(vec![
            (column::ID, Arc::new(StringArray::from(self.ids))),
            (column::SAMPLES, Arc::new(samples)),
            (column::VIEW, Arc::new(UInt64Array::from(vec![view; rows]))),
        ])?))
    }
}
