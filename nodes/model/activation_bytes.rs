//! Estimates the GPU memory of a student beside its weights: the activations that ops retain for
//! gradients, by [`Component`], workspaces, and copies of weights. With p bytes an operand of a
//! product (4, in bf16 2), T frames, C channels, width W, A = heads · d and F inner units:
//!
//! ```text
//! convolution  T C 2 p                   its output before the activation, and the activation;
//!                                        T C (8 + p) with a layer norm;
//!                                        T C p for the first, if its norm is over time
//! layer        T (2 W (4 + p) + p (4 A + F))
//!                                        inputs of its norms, and of the products after them;
//!                                        q, k, v, their mixture; the inner units
//! LSTM layer   T (24 H + p W)            of all directions H units: gates, state and cell; input
//! map          T T heads (4 + p)          of a layer whose attention map another layer uses
//! positional   4 (k + 4) W W/g (4 + p)   its weight of k taps and g groups, and the gradient
//! weights      2 a parameter in bf16     copies that products read; a teacher has them too
//! ```
use super::components::RowFrames;
use super::{Architecture, Component, count};
use compute::gemm::Precision;

/// Counts the bytes that no batch changes: copies of weights and workspaces.
pub fn per_model(a: &Architecture, precision: Precision) -> u64 {
    let p = bytes_per_operand(precision);
    let workspaces: usize = a.components().iter().map(|c| c.workspace.bytes(p)).sum();
    workspaces as u64 + weight_copies(a, precision)
}

/// Counts the bytes of the weights' copies in the precision of products.
pub fn weight_copies(a: &Architecture, precision: Precision) -> u64 {
    if precision == Precision::Bf16 {
        2 * count::parameters(a)
    } else {
        0
    }
}

fn bytes_per_operand(precision: Precision) -> usize {
    if precision == Precision::Bf16 { 2 } else { 4 }
}

/// Counts the bytes that a row of this many samples retains. Bytes of rows add up.
///
/// With `recompute` a layer retains its input alone; the largest one is then retained as a whole
/// while its gradients are computed.
pub fn per_row(a: &Architecture, precision: Precision, recompute: bool, samples: usize) -> u64 {
    let p = bytes_per_operand(precision);
    let frames = RowFrames::new(a, samples);
    let bytes = |c: &Component| {
        let n = c.frames(&frames);
        n * c.retained.bytes(p) + n * n * c.retained_pairs.bytes(p)
    };

    let mut outside_layers = 0;
    let mut by_layer = vec![0; a.num_hidden_layers];
    for component in a.components() {
        match component.kind.layer() {
            Some(layer) => by_layer[layer] += bytes(&component),
            None => outside_layers += bytes(&component),
        }
    }
    let layers: usize = if recompute {
        let input = 4 * a.hidden_size * frames.of_layers;
        by_layer.len() * input + by_layer.into_iter().max().unwrap_or(0)
    } else {
        by_layer.into_iter().sum()
    };
    (outside_layers + layers) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second of audio: 6343 frames of 512 channels, 3199 of them after the first convolution;
    /// 49 frames of a layer.
    #[test]
    fn hubert_base() {
        let base = Architecture::named("hubert-base").expect("known");
        let frames = base.frames_by_conv(16000);
        assert_eq!(
            (frames.iter().sum::<usize>(), frames[0], frames[6]),
            (6343, 3199, 49)
        );
        let layers = |of_layer: usize| ((6343 * 8 - 3199 * 4) * 512 + 12 * 49 * of_layer) as u64;
        assert_eq!(
            per_row(&base, Precision::F32, false, 16000),
            layers(768 * 48)
        );
        let bf16 = per_row(&base, Precision::Bf16, false, 16000);
        assert_eq!(
            bf16,
            ((6343 * 4 - 3199 * 2) * 512 + 12 * 49 * 768 * 28) as u64
        );
        assert_eq!(per_model(&base, Precision::F32), 4 * 132 * 768 * 48 * 8);
        assert_eq!(weight_copies(&base, Precision::Bf16), 2 * 94_371_712);
        assert!(per_row(&base, Precision::Bf16, true, 16000) < bf16 - 11 * 49 * 768 * 23);
    }
}
