//! Weights before training.
use super::components::{ComponentKind, Initial};
use super::normalization::HUGGING_FACE_EPSILON;
use super::{Architecture, Model, Normalization, Weights};
use compute::op::PackedWeights;
use compute::parallel::map;
use compute::random::Key;
use compute::tensor::{Param, param, read};
use std::collections::BTreeMap;

impl Model {
    /// Draws weights as in pre-training, each tensor as its description says.
    pub fn random(architecture: &Architecture, key: Key) -> Model {
        let mut weights = BTreeMap::new();
        for (site, tensor) in architecture.stored_tensors().into_iter().enumerate() {
            let values = draw(
                tensor.initial,
                tensor.parameters() as usize,
                key,
                site as u64,
            );
            weights.insert(tensor.name, param(values));
        }
        let prefix = ComponentKind::PositionalConvolution.prefix();
        if let Some(direction) = weights.get(&format!("{prefix}weight_v")) {
            let norms = norms_by_tap(direction, architecture.num_conv_pos_embeddings);
            weights.insert(format!("{prefix}weight_g"), param(norms));
        }
        Model {
            architecture: architecture.clone(),
            weights: Weights(weights),
            normalize: Normalization::by_default(architecture),
            normalize_epsilon: HUGGING_FACE_EPSILON,
            cmvn: None,
            packed: PackedWeights::default(),
        }
    }
}

/// Draws `n` values of tensor number `site`. Norms of taps come from another tensor, so they are
/// zero here.
pub(crate) fn draw(initial: Initial, n: usize, key: Key, site: u64) -> Vec<f32> {
    match initial {
        Initial::Ones => vec![1.0; n],
        Initial::Zeros | Initial::TapNorms => vec![0.0; n],
        Initial::Normal(deviation) => map(n, |i| key.normal(site, i as u64) * deviation as f32),
        Initial::Uniform => map(n, |i| key.uniform(site, i as u64)),
        Initial::Within(bound) => map(n, |i| {
            (2.0 * key.uniform(site, i as u64) - 1.0) * bound as f32
        }),
    }
}

/// Returns the norm of each tap, the last dimension of the weight.
fn norms_by_tap(weight: &Param, taps: usize) -> Vec<f32> {
    let mut squares = vec![0f64; taps];
    for (i, w) in read(weight).iter().enumerate() {
        squares[i % taps] += (*w as f64).powi(2);
    }
    squares.into_iter().map(|sum| sum.sqrt() as f32).collect()
}
