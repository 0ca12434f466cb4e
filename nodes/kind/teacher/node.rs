//! The frozen encoder as it runs.
use super::{IN, LOGITS_OUT, MAPS_OUT, OUT};
use crate::Result;
use crate::data::column;
use crate::data::column::{FRAMES, ID, MAP, SAMPLES};
use crate::data::targets::Targets;
use crate::model::row_memory::{check_frozen, row_lengths};
use crate::model::{Convention, Forward, LabelHead, Model, OPEN, Outputs, count};
use crate::node::port::Value;
use crate::node::step::Step;
use crate::node::{FeatureSource, Node, SharedFeatures};
use arrow::array::{ArrayRef, UInt32Array};
use arrow::record_batch::RecordBatch;
use compute::gemm::Precision;
use compute::op::mean_map;
use compute::tensor::{Hidden, Spans, alone, by_rows, hidden, read};
use std::ops::Range;
use std::sync::Arc;

pub(super) struct Teacher {
    pub(super) model: Model,
    /// Those of the other nodes that have the model.
    pub(super) features: Arc<SharedFeatures>,
    /// Layers whose hidden states are sent; none if no node reads them.
    pub(super) layers: Vec<usize>,
    /// Layers whose attention maps are sent.
    pub(super) mapped: Vec<usize>,
    pub(super) convention: Convention,
    pub(super) precision: Precision,
    /// Whether a node reads the attention maps.
    pub(super) sends_maps: bool,
    /// The label head, if a node reads the logits.
    pub(super) head: Option<LabelHead>,
    pub(super) temperature: f32,
    /// Whether a row's hidden states are sent as their mean.
    pub(super) pools: bool,
}

/// Returns the mean over the frames of each row, as one frame; a row without frames stays so.
pub(super) fn row_means(x: Hidden) -> Hidden {
    let width = x.width();
    let numbers = read(&x.values);
    let mut means = vec![];
    let mut frames = vec![];
    for row in x.spans.iter() {
        frames.push(usize::from(!row.is_empty()));
        if row.is_empty() {
            continue;
        }
        let count = row.len() as f64;
        let mut sums = vec![0.0f64; width];
        for frame in numbers[row.start * width..row.end * width].chunks_exact(width) {
            for (sum, x) in sums.iter_mut().zip(frame) {
                *sum += f64::from(*x);
            }
        }
        means.extend(sums.into_iter().map(|sum| (sum / count) as f32));
    }
    hidden(means, width, Spans::new(frames))
}

/// Returns a batch with the columns [`MAPS`] for rows of these frames.
fn maps_batch(ids: ArrayRef, frames: &[usize], layers: &[Hidden]) -> Result<RecordBatch> {
    let numbers: Vec<_> = layers.iter().map(|layer| read(&layer.values)).collect();
    let mut values: Vec<f32> = vec![];
    let mut lengths = vec![];
    for row in 0..frames.len() {
        for (layer, numbers) in layers.iter().zip(&numbers) {
            let pairs = layer.spans.of(row);
            lengths.push(pairs.len());
            values.extend_from_slice(&numbers[pairs]);
        }
    }
    let maps = column::list_by_layer(values, lengths, frames.len(), layers.len())?;
    let frames = UInt32Array::from_iter_values(frames.iter().map(|&frames| frames as u32));
    column::batch(vec![
        (ID, ids),
        (FRAMES, Arc::new(frames)),
        (MAP, Arc::new(maps)),
    ])
}

impl Node for Teacher {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        let samples = column::floats_by_row(&batch, SAMPLES)?;
        let masks = step.masks()?;
        let rows = row_lengths(column::texts(&batch, ID)?, &samples);
        check_frozen(&self.model.architecture, self.layers.len(), &rows)?;
        let forward = Forward::frozen(&self.model, OPEN, self.precision);
        let encode = |rows: Range<usize>, features: Hidden| {
            let masks = masks.as_ref().map(|masks| &masks[rows.clone()]);
            let outputs = Outputs {
                layers: &self.layers,
                maps: &self.mapped,
                encoder_output: self.head.is_some(),
                convention: self.convention,
            };
            let own: Vec<usize> = samples[rows].iter().map(|row| row.len()).collect();
            let encoded = forward.encode(features, masks, outputs);
            let hiddens = encoded.hiddens.into_iter();
            let hiddens = hiddens.map(|x| forward.own_frames(x, &own));
            let mut outputs: Vec<Hidden> = hiddens.collect();
            if self.pools {
                outputs = outputs.into_iter().map(row_means).collect();
            }
            outputs.extend(encoded.maps.iter().map(mean_map));
            let logits = self.head.as_ref().zip(encoded.encoder_output);
            outputs.extend(logits.map(|(head, x)| head.logits(x, self.temperature)));
            outputs
        };
        let source = FeatureSource {
            samples: column::get(&batch, SAMPLES)?.clone(),
            normalize: self.model.normalize,
            precision: self.precision,
        };
        let shared = self.features.rows(source, || {
            alone(samples.len(), |row| forward.features(&samples[row..=row]))
        });
        let features = |rows: Range<usize>| match &shared {
            Some(of_rows) if rows.len() == 1 => of_rows[rows.start].clone(),
            _ => forward.features(&samples[rows]),
        };
        let mut layers = by_rows(samples.len(), features, encode);
        let mut maps = layers.split_off(self.layers.len());
        let logits = maps.split_off(self.mapped.len());
        let architecture = &self.model.architecture;
        let lengths = samples.iter().map(|row| row.len());
        let macs = count::macs_of(architecture, lengths.clone());
        step.record_products(self.precision, macs, false);
        let ids = column::get(&batch, ID)?.clone();
        if self.sends_maps {
            let frames: Vec<usize> = lengths.map(|n| architecture.layer_frames(1, n)).collect();
            let batch = maps_batch(ids.clone(), &frames, &maps)?;
            step.send(MAPS_OUT, Value::Batch(batch));
        }
        if self.head.is_some() {
            step.send(
                LOGITS_OUT,
                Value::Targets(Targets::new(ids.clone(), logits)),
            );
        }
        if !layers.is_empty() {
            step.send(OUT, Value::Targets(Targets::new(ids, layers)));
        }
        Ok(())
    }
}
