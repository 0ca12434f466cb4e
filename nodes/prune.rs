//! Structured pruning: which units have gates, what the gates are, how many parameters they leave, and the smaller model
//! that comes out (DPHuBERT, Peng et al. 2023, arXiv:2305.17651; gates: Louizos et al. 2018, arXiv:1712.01312).
pub mod expected;
pub mod gate;
pub mod penalty;
pub mod shrink;

use crate::model::Architecture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What can be pruned. Each has a gate vector by layer, named `conv.0`, `head.3`, `ffn.11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Output channels of each convolution.
    Conv,
    /// Attention heads of each layer.
    Head,
    /// Inner units of each feed-forward.
    Ffn,
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

/// Name and length of every gate vector.
pub fn vectors(a: &Architecture, units: &[Unit]) -> BTreeMap<String, usize> {
    let of = |unit: Unit| -> Vec<(String, usize)> {
        match unit {
            Unit::Conv => a.conv_dim.iter().enumerate().map(|(i, &n)| (format!("conv.{i}"), n)).collect(),
            Unit::Head => (0..a.num_hidden_layers).map(|l| (format!("head.{l}"), a.heads(l))).collect(),
            Unit::Ffn => (0..a.num_hidden_layers).map(|l| (format!("ffn.{l}"), a.ffn(l))).collect(),
        }
    };
    units.iter().flat_map(|&u| of(u)).filter(|(_, n)| *n > 0).collect()
}

impl Pruning {
    /// The architecture at the target: of each vector the same share, rounded down (at least one channel), the largest
    /// share whose parameters fit.
    pub fn estimate(&self) -> Architecture {
        let full = expected::parameters(&self.architecture, &BTreeMap::new()).count;
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..40 {
            let share = (low + high) / 2.0;
            let open =
                vectors(&self.architecture, &self.units).into_iter().map(|(v, n)| (v, n as f64 * share)).collect();
            let left = expected::parameters(&self.architecture, &open).count;
            *(if left > full * (1.0 - self.sparsity) { &mut high } else { &mut low }) = share;
        }
        let kept = |n: usize| (n as f64 * low) as usize;
        let mut a = self.architecture.clone();
        let layers = 0..a.num_hidden_layers;
        for unit in &self.units {
            match unit {
                Unit::Conv => {
                    if self.finalize == Finalize::Exact && a.feat_proj_layer_norm {
                        a.feature_norm_width.get_or_insert(self.architecture.channels());
                    }
                    a.feature_dummy_weight = true;
                    a.conv_dim.iter_mut().for_each(|n| *n = kept(*n).max(1));
                }
                Unit::Head => {
                    let first = |l| (0..kept(self.architecture.heads(l))).collect::<Vec<_>>();
                    layers.clone().for_each(|l| a.keep_heads(l, &first(l)));
                }
                Unit::Ffn => {
                    a.encoder_ff_interm_features =
                        Some(layers.clone().map(|l| kept(self.architecture.ffn(l))).collect());
                }
            }
        }
        a
    }
}
