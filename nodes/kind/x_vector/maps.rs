//! The linear maps of x-vectors.
use super::Options;
use crate::model::{Dim, Initial, TensorSpec};
use compute::op::{Context, linear, splice, statistics};
use compute::tensor::{Hidden, Param, Tape};

/// The frames that the maps over frames read.
pub(super) const CONTEXTS: [Context; 5] = [
    Context {
        frames: 5,
        dilation: 1,
    },
    Context {
        frames: 3,
        dilation: 2,
    },
    Context {
        frames: 3,
        dilation: 3,
    },
    Context::ONE,
    Context::ONE,
];
/// The fewest frames of a row.
pub(super) const MIN_FRAMES: usize = 15;

/// Name, inputs and outputs of a linear map.
pub(super) struct Map {
    name: String,
    inputs: usize,
    outputs: usize,
}

impl Map {
    /// Lists weight and bias, drawn as PyTorch's Linear.
    fn tensors(&self) -> [TensorSpec; 2] {
        let drawn = Initial::Within(1.0 / (self.inputs as f64).sqrt());
        let outputs = Dim::fixed(self.outputs);
        let weight = [outputs, Dim::fixed(self.inputs)];
        [
            TensorSpec::new(format!("{}.weight", self.name), &weight, drawn),
            TensorSpec::new(format!("{}.bias", self.name), &[outputs], drawn),
        ]
    }

    pub(super) fn macs(&self) -> u64 {
        (self.inputs * self.outputs) as u64
    }
}

impl Options {
    /// Lists the maps over frames.
    pub(super) fn frame_maps(&self, input: usize) -> Vec<Map> {
        let mut width = input;
        let mut maps = vec![];
        for (i, context) in CONTEXTS.iter().enumerate() {
            let is_last = i + 1 == CONTEXTS.len();
            let outputs = if is_last { self.pooled } else { self.width };
            maps.push(Map {
                name: format!("frames.{i}"),
                inputs: context.frames * width,
                outputs,
            });
            width = outputs;
        }
        maps
    }

    /// Lists the maps of the statistics: to the embedding, and behind it.
    pub(super) fn row_maps(&self) -> [Map; 2] {
        [
            Map {
                name: "embedding".into(),
                inputs: 2 * self.pooled,
                outputs: self.width,
            },
            Map {
                name: "hidden".into(),
                inputs: self.width,
                outputs: self.width,
            },
        ]
    }

    pub(super) fn tensors(&self, input: usize) -> Vec<TensorSpec> {
        let maps = self.frame_maps(input).into_iter().chain(self.row_maps());
        maps.flat_map(|map| map.tensors()).collect()
    }

    /// Returns the embeddings of all rows, and what follows them.
    pub(super) fn apply(&self, x: Hidden<Tape>, weights: &[Param]) -> [Hidden<Tape>; 2] {
        let map = |i: usize, x| linear(x, &weights[2 * i], &weights[2 * i + 1], self.precision);
        let rectified = |x| splice(x, Context::ONE, true);
        let mut x = x;
        for (i, context) in CONTEXTS.into_iter().enumerate() {
            x = map(i, splice(x, context, i > 0));
        }
        let pooled = statistics(rectified(x));
        let embeddings = rectified(map(CONTEXTS.len(), pooled));
        let hiddens = rectified(map(CONTEXTS.len() + 1, embeddings.clone()));
        [embeddings, hiddens]
    }
}
