//! The student as it runs: one pass a step, and its folder at the end.
use super::front_end::{InputBatch, InputRows};
use super::frozen::Frozen;
use super::spec_augment::SpecAugment;
use super::{FEATURE_LOSS, GATES, MAPS_OUT, OUT, PENALTY};
use crate::Result;
use crate::model::row_memory::{check_frozen, check_trained, row_lengths};
use crate::model::{
    Convention, DUMMY_WEIGHT, DropoutKey, Encoded, Forward, MASK_EMBEDDING, Model, OPEN, Outputs,
    count,
};
use crate::node::port::{Gates, Hiddens, Maps, Scalar, Value};
use crate::node::step::Step;
use crate::node::{Node, Parameter, check_finite};
use crate::prune::shrink::{Fixed, shrink};
use compute::gemm::Precision;
use compute::op::{gradient_scale, mean_square};
use compute::random::Key;
use compute::tensor::{Hidden, NoneTape, Number, Tape, Track, Vector, put, read, scaled, split};
use std::collections::BTreeMap;

pub(super) struct Student {
    pub(super) model: Model,
    /// Beginnings of the names of tensors that stand still.
    pub(super) frozen: Vec<String>,
    /// Whether a gradient reaches anything of the extractor.
    pub(super) trains_extractor: bool,
    /// The first parts of the encoder that no gradient reaches.
    pub(super) frozen_parts: usize,
    pub(super) spec_augment: Option<SpecAugment>,
    pub(super) augmentation: Key,
    pub(super) layers: Vec<usize>,
    pub(super) convention: Convention,
    pub(super) precision: Precision,
    pub(super) recompute: bool,
    pub(super) average_gradients: bool,
    /// Layers whose attention maps are sent.
    pub(super) mapped: Vec<usize>,
    pub(super) feature_penalty: f32,
    pub(super) feature_gradient: f32,
    /// Whether `mask` is connected, and so the mask embedding is trained.
    pub(super) masked: bool,
    pub(super) noise: Key,
}

/// The input rows of a step, and whether each of their frames is masked.
struct Rows<'a> {
    input: InputRows<'a>,
    masks: Option<&'a [Vec<bool>]>,
}

/// The result of a forward pass.
struct ForwardOutput<T: Track> {
    encoded: Encoded<T>,
    /// The mean square of the extractor's features, if it is penalised.
    mean_square: Option<Number<T>>,
}

/// Returns the extractor's output.
fn extracted<T: Track>(forward: &Forward<T>, input: InputRows) -> Hidden<T> {
    match input {
        InputRows::Samples(rows) => forward.features(&rows),
        InputRows::LogMel(rows) => forward.fbank_features(rows),
    }
}

impl Student {
    fn forward<T: Track>(
        &self,
        rows: Rows,
        gates: &BTreeMap<String, Vector<T>>,
        drops: DropoutKey,
        tape: T,
    ) -> ForwardOutput<T> {
        let forward = Forward {
            model: &self.model,
            gates,
            drops,
            precision: self.precision,
            recompute: self.recompute,
            average_gradients: self.average_gradients,
            frozen_parts: self.frozen_parts,
            tape,
        };
        let features = if self.trains_extractor {
            let features = extracted(&forward, rows.input);
            gradient_scale(features, self.feature_gradient)
        } else {
            let frozen = Forward::frozen(&self.model, OPEN, self.precision);
            extracted(&frozen, rows.input).on(&forward.tape)
        };
        let mean_square = (self.feature_penalty > 0.0).then(|| mean_square(features.clone()));
        let outputs = Outputs {
            layers: &self.layers,
            maps: &self.mapped,
            encoder_output: false,
            convention: self.convention,
        };
        ForwardOutput {
            encoded: forward.encode(features, rows.masks, outputs),
            mean_square,
        }
    }

    /// Checks that there is memory for the rows of a step.
    fn check_memory(&self, batch: &InputBatch, input: &InputRows, step: &Step) -> Result<()> {
        let InputRows::Samples(samples) = input else {
            return Ok(());
        };
        let rows = row_lengths(batch.ids()?, samples);
        if step.trains() {
            check_trained(&self.model.architecture, self.recompute, &rows)
        } else {
            check_frozen(&self.model.architecture, self.layers.len(), &rows)
        }
    }

    /// Masks bands and spans of log-mel frames, if the option says so.
    fn augment(&self, input: &mut InputRows, step: u64) {
        let (Some(augment), InputRows::LogMel(rows)) = (self.spec_augment, input) else {
            return;
        };
        let bins = self.model.architecture.fbank_bins;
        for (row, frames) in rows.iter_mut().enumerate() {
            augment.apply(frames, bins, self.augmentation, step, row);
        }
    }

    /// Runs the forward pass of a dev batch, without dropout and without gradients.
    fn forward_dev(&self, rows: Rows, gates: Gates, step: &Step) -> ForwardOutput<Tape> {
        let gates = gates
            .vectors
            .into_iter()
            .map(|(name, gates)| (name, split(gates).0))
            .collect();
        let output = self.forward(rows, &gates, DropoutKey(None), NoneTape);
        let tape = step.tape();
        let hiddens = output.encoded.hiddens.iter();
        let maps = output.encoded.maps.iter();
        ForwardOutput {
            encoded: Encoded {
                hiddens: hiddens.map(|hidden| hidden.on(tape)).collect(),
                maps: maps.map(|map| map.on(tape)).collect(),
                encoder_output: None,
            },
            mean_square: output.mean_square.map(|square| put(&square, tape)),
        }
    }
}

impl Node for Student {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = InputBatch::take(step, &self.model)?;
        let mut input = batch.rows(&self.model)?;
        self.check_memory(&batch, &input, step)?;
        let masks = step.masks()?;
        let lengths = input.lengths(&self.model.architecture);
        let macs = count::macs_of(&self.model.architecture, lengths);
        step.record_products(self.precision, macs, true);
        if step.trains() {
            self.augment(&mut input, step.info.step);
        }
        let rows = Rows {
            input,
            masks: masks.as_deref(),
        };
        let gates = step.gates(GATES).unwrap_or_default();
        let output = if step.trains() {
            let drops = DropoutKey(Some(self.noise.word(step.info.step)));
            self.forward(rows, &gates.vectors, drops, step.tape().clone())
        } else {
            self.forward_dev(rows, gates, step)
        };
        let layers = self.layers.iter().copied();
        let layers = layers.zip(output.encoded.hiddens).collect();
        step.send(OUT, Value::Hiddens(Hiddens { layers }));
        let mapped = self.mapped.iter().copied();
        let layers = mapped.zip(output.encoded.maps).collect();
        step.send(MAPS_OUT, Value::Maps(Maps { layers }));
        let mut penalty = Scalar::zero(step.tape());
        if let Some(square) = output.mean_square {
            penalty.parts = vec![(FEATURE_LOSS.into(), read(&square)[0])];
            penalty.value = scaled(square, self.feature_penalty);
        }
        step.send(PENALTY, Value::Scalar(penalty));
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        let tensors = self.model.weights.0.iter();
        check_finite(tensors.map(|(name, weight)| (name.as_str(), weight)))?;
        let folder = step.context.folder();
        let Some(Gates {
            vectors,
            finalize: Some(finalize),
        }) = step.gates(GATES)
        else {
            return self.model.save(&folder);
        };
        let gates: Fixed = vectors
            .into_iter()
            .map(|(name, gates)| (name, read(&gates).into()))
            .collect();
        let small = shrink(&self.model, &gates, finalize)?;
        step.context
            .say(self.describe_cut(&small, &gates, finalize));
        small.save(&folder)
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let tensors = self.model.architecture.tensors();
        let mut shapes: BTreeMap<String, Vec<usize>> = tensors.into_iter().collect();
        let mut parameters = vec![];
        for (name, weight) in &mut self.model.weights.0 {
            let stands_still = Frozen(&self.frozen).holds(name);
            if stands_still || name == DUMMY_WEIGHT || name == MASK_EMBEDDING && !self.masked {
                continue;
            }
            parameters.push(Parameter {
                name: name.clone(),
                shape: shapes.remove(name).unwrap_or_default(),
                weight,
                sign: 1.0,
            });
        }
        parameters
    }
}
