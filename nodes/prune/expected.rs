//! Expected number of parameters as a function of how many units of each vector are expected to be open (DPHuBERT's own
//! count, with the last convolution's dummy weight and without a mask embedding):
//!
//! conv i: C_{i-1} C_i k_i (+ C_i bias) (+ 2 C_i norm); dummy C; projection: 2 C + (C + 1) D; positional convolution and
//! its norm; a layer: 4 D + A (3 (D + 1) H d + (H d + 1) D) + B ((D + 1) F + (F + 1) D), where A and B are 1 or the chance
//! that the layer's attention, its feed-forward is open as a whole. WavLM's position biases, which no gate closes, are not
//! in it, as in the reference: 10,224 of 94 million.
use crate::model::{Architecture, ExtractNorm};
use std::collections::BTreeMap;

pub struct Expected {
    pub count: f64,
    /// The derivative by each vector's number of open units.
    pub slope: BTreeMap<String, f64>,
}

/// Vectors that `open` does not name are open as a whole.
pub fn parameters(a: &Architecture, open: &BTreeMap<String, f64>) -> Expected {
    let mut slope = BTreeMap::new();
    let mut by = |vector: &str, d: f64| *slope.entry(vector.to_owned()).or_insert(0.0) += d;
    let units = |vector: &str, all: usize| open.get(vector).copied().unwrap_or(all as f64);
    let d = a.hidden_size as f64;

    let (mut count, mut from, mut before) = (0.0, 1.0, None::<String>);
    for (i, (&channels, &k)) in a.conv_dim.iter().zip(&a.conv_kernel).enumerate() {
        let (vector, k) = (format!("conv.{i}"), k as f64);
        let c = units(&vector, channels);
        let norm = if i == 0 || a.feat_extract_norm == ExtractNorm::Layer {
            2.0
        } else {
            0.0
        };
        let own = norm + if a.conv_bias { 1.0 } else { 0.0 };
        count += from * c * k + own * c;
        by(&vector, from * k + own);
        if let Some(before) = &before {
            by(before, c * k);
        }
        (from, before) = (c, Some(vector));
    }
    let projection = if a.feature_projection { d } else { 0.0 };
    let per_channel = 1.0 + if a.feat_proj_layer_norm { 2.0 } else { 0.0 } + projection;
    count += from * per_channel + projection;
    by(&before.unwrap_or_default(), per_channel);

    let (k, groups) = (
        a.num_conv_pos_embeddings as f64,
        a.num_conv_pos_embedding_groups as f64,
    );
    count += d * (d / groups) * k + k + d + 2.0 * d;

    let (head, inner) = (a.head_dim() as f64 * (4.0 * d + 3.0), 2.0 * d + 1.0);
    for l in 0..a.num_hidden_layers {
        count += 4.0 * d;
        for (unit, all, size, whole) in [
            ("head", a.heads(l), head, "attention-layer"),
            ("ffn", a.ffn(l), inner, "ffn-layer"),
        ] {
            let [unit, whole] = [unit, whole].map(|name| format!("{name}.{l}"));
            let (own, open) = (units(&unit, all) * size + d, units(&whole, 1));
            count += own * open;
            by(&unit, size * open);
            by(&whole, own);
        }
    }
    Expected { count, slope }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prune::{Unit, gate, vectors};

    fn base() -> Architecture {
        Architecture::named("hubert-base").expect("known")
    }

    #[test]
    fn hubert_base_as_dphubert_counts_it() {
        assert_eq!(parameters(&base(), &BTreeMap::new()).count, 94_371_456.0);
    }

    #[test]
    fn gates_at_the_start() {
        let drop = |v: &str| if v.starts_with("ffn") { 0.5 } else { 0.01 };
        let vectors = vectors(&base(), &[Unit::Conv, Unit::Head, Unit::Ffn]);
        let open = vectors.into_iter().map(|(v, n)| {
            let of_one = gate::open(&[gate::log_alpha(drop(&v)) as f32]).0;
            (v, of_one * n as f64)
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
        let vectors = vectors(
            &a,
            &[
                Unit::Conv,
                Unit::Head,
                Unit::Ffn,
                Unit::AttentionLayer,
                Unit::FfnLayer,
            ],
        );
        let open: BTreeMap<String, f64> = vectors
            .iter()
            .map(|(v, n)| (v.clone(), *n as f64 * 0.7))
            .collect();
        let slope = parameters(&a, &open).slope;
        for v in vectors.keys() {
            let moved = |step: f64| {
                let mut open = open.clone();
                *open.get_mut(v).expect("there") += step;
                parameters(&a, &open).count
            };
            let difference = (moved(0.5) - moved(-0.5)).abs();
            assert!(
                (slope[v] - difference).abs() < 1e-6 * difference,
                "{v}: {} is not {difference}",
                slope[v]
            );
        }
    }
}
