//! The metrics of an update, as a batch for other nodes and as progress for the person who watches.
use crate::data::column;
use crate::data::column::{EPOCH, NAME, STEP, VALUE};
use crate::node::NodeContext;
use crate::node::report::Progress;
use crate::node::step::StepInfo;
use crate::{Batch, Result};
use arrow::array::{ArrayRef, Float32Array, StringArray, UInt64Array};
use std::sync::Arc;

/// Builds the batch with the columns [`column::METRICS`] from names and values.
pub(super) fn batch(info: &StepInfo, metrics: Vec<(String, f32)>) -> Result<Batch> {
    let rows = metrics.len();
    let (names, values): (Vec<String>, Vec<f32>) = metrics.into_iter().unzip();
    let constant = |x: u64| Arc::new(UInt64Array::from(vec![x; rows])) as ArrayRef;
    column::batch(vec![
        (STEP, constant(info.update)),
        (EPOCH, constant(info.epoch)),
        (NAME, Arc::new(StringArray::from(names))),
        (VALUE, Arc::new(Float32Array::from(values))),
    ])
}

/// Reports the progress of the run after an update with `audio_seconds` seconds of audio.
pub(super) fn report(
    context: &NodeContext,
    update: u64,
    metrics: &[(String, f32)],
    audio_seconds: f64,
) {
    let value = |name: &str| {
        let metric = metrics.iter().find(|(metric, _)| metric == name);
        metric.map(|(_, value)| *value)
    };
    let progress = Progress {
        update,
        updates: context.run.clock.updates.unwrap_or(0),
        loss: value("loss").unwrap_or(f32::NAN),
        sparsity: value("sparsity_expected").zip(value("sparsity_target")),
        audio_seconds,
        audio_per_second: value("audio_per_second").unwrap_or(f32::NAN),
        audio: None,
    };
    context.run.report.update(&context.run.phase, progress);
}
