//! Structured pruning: which units have gates, what the gates are, how many parameters they leave, and the smaller model
//! that comes out (DPHuBERT, Peng et al. 2023, arXiv:2305.17651; gates: Louizos et al. 2018, arXiv:1712.01312).
mod estimate;
pub mod expected;
pub mod gate;
pub mod penalty;
pub mod shrink;

use crate::model::Architecture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What can be pruned. Each has a gate vector by layer, named `conv.0`, `head.3`, `ffn.11`, `attention-layer.3`,
/// `ffn-layer.11`; the last two have one gate, on all that the sub-layer adds, its output bias too.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Output channels of each convolution.
    Conv,
    /// Attention heads of each layer.
    Head,
    /// Inner units of each feed-forward.
    Ffn,
    /// The attention of each layer as a whole.
    AttentionLayer,
    /// The feed-forward of each layer as a whole.
    FfnLayer,
}

/// How the pruned model is made smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Finalize {
    /// No hidden state moves.
    #[default]
    Exact,
    /// As the reference's `prune.py`: the projection's norm runs over the kept channels alone, so hidden states jump.
    Reference,
}

/// What travels with a `gates` edge when planning.
#[derive(Clone, Debug, PartialEq)]
pub struct Pruning {
    pub architecture: Architecture,
    pub units: Vec<Unit>,
    pub sparsity: f64,
    pub finalize: Finalize,
}

/// Name and length of every gate vector. A sub-layer that is gone has none.
pub fn vectors(a: &Architecture, units: &[Unit]) -> BTreeMap<String, usize> {
    let by_layer = |name: &str, n: &dyn Fn(usize) -> usize| -> Vec<(String, usize)> {
        (0..a.num_hidden_layers)
            .map(|l| (format!("{name}.{l}"), n(l)))
            .collect()
    };
    let of = |unit: Unit| match unit {
        Unit::Conv => a
            .conv_dim
            .iter()
            .enumerate()
            .map(|(i, &n)| (format!("conv.{i}"), n))
            .collect(),
        Unit::Head => by_layer("head", &|l| a.heads(l)),
        Unit::Ffn => by_layer("ffn", &|l| a.ffn(l)),
        Unit::AttentionLayer => by_layer("attention-layer", &|l| a.heads(l).min(1)),
        Unit::FfnLayer => by_layer("ffn-layer", &|l| a.ffn(l).min(1)),
    };
    units
        .iter()
        .flat_map(|&u| of(u))
        .filter(|(_, n)| *n > 0)
        .collect()
}
