//! What `decode` sends: rows of waveforms.
use crate::Result;
use crate::data::column;
use crate::node::port::Value;
use arrow::array::{StringArray, UInt64Array};
use std::sync::Arc;

/// Rows of a batch, their samples at 16 kHz one behind the other.
#[derive(Default)]
pub struct Speech {
    pub ids: Vec<String>,
    pub samples: Vec<f32>,
    pub lengths: Vec<usize>,
}

impl Speech {
    pub fn into_value(self, view: u64) -> Result<Value> {
        let rows = self.ids.len();
        Ok(Value::Batch(column::batch(vec![
            (column::ID, Arc::new(StringArray::from(self.ids))),
            (
                column::SAMPLES,
                Arc::new(column::list(self.samples, self.lengths)?),
            ),
            (column::VIEW, Arc::new(UInt64Array::from(vec![view; rows]))),
        ])?))
    }
}
