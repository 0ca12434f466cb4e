//! Expected number of parameters, as a function of how many units of each group are expected to be
//! open. It is DPHuBERT's count: with the last convolution's dummy weight, without mask embedding.
//!
//! ```text
//! convolution i       C_{i-1} C_i k_i (+ C_i bias) (+ 2 C_i norm)
//! feature projection  C dummy weight + 2 C norm + (C + 1) D
//! positions           positional convolution + 2 D norm
//! layer               4 D + A (3 (D + 1) H d + (H d + 1) D) + B ((D + 1) F + (F + 1) D)
//! ```
//!
//! A and B are the chances that the layer's attention and its feed-forward are open as a whole.
//! WavLM's position biases, which no gate closes, do not count, as in the reference: 10,224 of 94
//! million.
use crate::model::{Architecture, Dim, TensorSpec, UnitGroup};
use std::collections::BTreeMap;

pub struct Expected {
    pub count: f64,
    /// Derivative by the number of open units, by gate vector.
    pub slope: BTreeMap<String, f64>,
}

/// Counts the expected parameters. Gate vectors that are not in `open` are open as a whole.
pub fn parameters(a: &Architecture, open: &BTreeMap<String, f64>) -> Expected {
    let open = |group: UnitGroup, all: usize| {
        let named = open.get(&group.to_string());
        named.copied().unwrap_or(all as f64)
    };
    let mut count = 0.0;
    let mut slope = BTreeMap::new();
    let mut add_slope = |group: UnitGroup, derivative: f64| {
        *slope.entry(group.to_string()).or_insert(0.0) += derivative;
    };
    for component in a.components() {
        let whole_open = component.whole.map_or(1.0, |group| open(group, 1));
        let mut parameters = 0.0;
        for tensor in component.tensors.iter().filter(|tensor| tensor.expected) {
            let lengths = expected_lengths(tensor, open);
            parameters += lengths.iter().product::<f64>();
            for (i, dim) in tensor.dims.iter().enumerate() {
                let Some(group) = dim.group else { continue };
                let others = lengths[..i].iter().chain(&lengths[i + 1..]);
                let per_unit = others.product::<f64>() * dim.size as f64;
                add_slope(group, per_unit * whole_open);
            }
        }
        count += parameters * whole_open;
        if let Some(group) = component.whole {
            add_slope(group, parameters);
        }
    }
    Expected { count, slope }
}

/// Returns the expected length of every dimension.
fn expected_lengths(tensor: &TensorSpec, open: impl Fn(UnitGroup, usize) -> f64) -> Vec<f64> {
    let length = |dim: &Dim| match dim.group {
        Some(group) => open(group, dim.units) * dim.size as f64,
        None => dim.len() as f64,
    };
    tensor.dims.iter().map(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ExtractNorm, Unit, count};
    use crate::prune::{gate, vectors};

    fn base() -> Architecture {
        Architecture::named("hubert-base").expect("known")
    }

    #[test]
    fn hubert_base_as_dphubert_counts_it() {
        assert_eq!(parameters(&base(), &BTreeMap::new()).count, 94_371_456.0);
    }

    /// With all units open, the description gives every count: they differ in tensors that are not
    /// in DPHuBERT's count, and in those that it counts though the model has none.
    #[test]
    fn counts_agree() {
        let named = [
            "hubert-base",
            "hubert-large",
            "wav2vec2-base",
            "wavlm-base",
            "wavlm-large",
        ]
        .map(|name| Architecture::named(name).expect(name));
        let pruned = Architecture {
            conv_dim: vec![500, 400, 300, 300, 400, 500, 200],
            encoder_num_heads: Some(Vec::from_iter(0..12)),
            encoder_ff_interm_features: Some(Vec::from_iter((0..12).map(|l| 100 * l))),
            feature_norm_width: Some(512),
            feature_dummy_weight: true,
            ..base()
        };
        for a in named.into_iter().chain([pruned]) {
            let shapes = a.tensors().into_iter().map(|(_, shape)| shape);
            let elements: usize = shapes.map(|shape| shape.iter().product::<usize>()).sum();
            assert_eq!(elements as u64, count::parameters(&a));
            let mut elements = elements as f64;
            for tensor in a.components().iter().flat_map(|c| &c.tensors) {
                match (tensor.stored, tensor.expected) {
                    (true, false) => elements -= tensor.parameters() as f64,
                    (false, true) => elements += tensor.parameters() as f64,
                    _ => {}
                }
            }
            assert_eq!(parameters(&a, &BTreeMap::new()).count, elements);
        }
    }

    #[test]
    fn gates_at_the_start() {
        let drop = |v: &str| if v.starts_with("ffn") { 0.5 } else { 0.01 };
        let vectors = vectors(&base(), &[Unit::Conv, Unit::Head, Unit::Ffn]);
        let open = vectors.into_iter().map(|(v, n)| {
            let chance = gate::open(&[gate::log_alpha(drop(&v)) as f32]).0;
            (v, chance * n as f64)
        });
        let left = parameters(&base(), &open.collect()).count;
        assert_eq!(left.round(), 84_766_853.0);
        assert!((1.0 - left / 94_371_456.0 - 0.1018).abs() < 5e-5);
    }

    #[test]
    fn slopes_are_differences() {
        let a = Architecture {
            conv_bias: true,
            feat_extract_norm: ExtractNorm::Layer,
            num_hidden_layers: 2,
            ..base()
        };
        let vectors = vectors(&a, &Unit::ALL);
        let open: BTreeMap<String, f64> = vectors
            .iter()
            .map(|(v, n)| (v.clone(), *n as f64 * 0.7))
            .collect();
        let slope = parameters(&a, &open).slope;
        for v in vectors.keys() {
            let count_with = |step: f64| {
                let mut open = open.clone();
                *open.get_mut(v).expect("a vector of the model") += step;
                parameters(&a, &open).count
            };
            let difference = (count_with(0.5) - count_with(-0.5)).abs();
            assert!(
                (slope[v] - difference).abs() < 1e-6 * difference,
                "{v}: {} is not {difference}",
                slope[v]
            );
        }
    }
}
