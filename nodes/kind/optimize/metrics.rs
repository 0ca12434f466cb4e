//! The metrics of an update, as a batch for other nodes and as progress for a person.
use crate::data::column;
use crate::data::column::{EPOCH, NAME, STEP, VALUE};
use crate::node::NodeContext;
use crate::node::report::Progress;
use crate::node::step::StepInfo;
use crate::{Batch, Result};
use arrow::array::{ArrayRef, Float32Array, StringArray, UInt64Array};
use std::sync::Arc;

/// Builds the batch with the columns [`column::METRICS`] from names and values.
pub fn batch(info: &StepInfo, lines: Vec<(String, f32)>) -> Result<Batch> {
    let n = lines.len();
    let (names, values): (Vec<String>, Vec<f32>) = lines.into_iter().unzip();
    let all = |x: u64| Arc::new(UInt64Array::from(vec![x; n])) as ArrayRef;
    column::batch(vec![
        (STEP, all(info.update)),
        (EPOCH, all(info.epoch)),
        (NAME, Arc::new(StringArray::from(names))),
        (VALUE, Arc::new(Float32Array::from(values))),
    ])
}

/// Reports the progress of the run after an update, of `audio_seconds` seconds of audio.
pub fn report(context: &NodeContext, update: u64, lines: &[(String, f32)], audio_seconds: f64) {
    let of = |name: &str| lines.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
    let progress = Progress {
        update,
        updates: context.run.clock.updates.unwrap_or(0),
        loss: of("loss").unwrap_or(f32::NAN),
        sparsity: of("sparsity_expected").zip(of("sparsity_target")),
        audio_seconds,
        audio_per_second: of("audio_per_second").unwrap_or(f32::NAN),
    };
    context.run.report.update(&context.run.phase, progress);
}
