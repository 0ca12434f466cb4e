//! What a cached node receives in a step.
use super::rows::{RowKey, row_key};
use crate::Result;
use crate::data::column;
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

/// The input of a step.
pub(super) struct InputRows {
    pub(super) speech: RecordBatch,
    pub(super) mask: Option<RecordBatch>,
}

impl InputRows {
    /// Returns the key of each row.
    pub(super) fn keys(&self) -> Result<Vec<RowKey>> {
        let samples = column::floats_by_row(&self.speech, column::SAMPLES)?;
        let masks = match &self.mask {
            Some(mask) => column::flags_by_row(mask, column::MASK)?,
            None => vec![vec![]; samples.len()],
        };
        let rows = samples.iter().zip(&masks);
        Ok(rows.map(|(samples, mask)| row_key(samples, mask)).collect())
    }

    /// Copies these rows.
    pub(super) fn take(&self, rows: &[u32]) -> Result<InputRows> {
        let rows = UInt32Array::from(rows.to_vec());
        let mask = match &self.mask {
            Some(mask) => Some(take_record_batch(mask, &rows)?),
            None => None,
        };
        Ok(InputRows {
            speech: take_record_batch(&self.speech, &rows)?,
            mask,
        })
    }
}
