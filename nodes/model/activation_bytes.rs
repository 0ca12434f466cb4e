//! What a student keeps in a GPU's memory beside its weights: for its gradients what a forward pass leaves, by the tensors that the ops hold. With p bytes
//! a number of products (4, in bf16 2), T frames, C channels, width W, A = heads · d and F inner units:
//!
//! ```text
//! convolution   T C 2 p                    its output before the activation, and that once more as the next one's input;
//!                                          T C (8 + p) where a layer norm stands behind it; of the first, where
//!                                          its norm is over time, T C p: it is computed again
//! layer         T (2 W (4 + p) + p (4 A + F))  two inputs of norms and of products; q, k, v, their mixture, the inner units
//! positional    4 (k + 4) W W/g (4 + p)    its weight of k taps and g groups, written out for 4 frames, and its gradient
//! weights       2 a parameter in bf16       the copies that products read; a teacher has them too
//! ```
use super::{Architecture, ExtractNorm, count};
use compute::gemm::Precision;

/// Bytes whatever the batch.
pub fn fixed(a: &Architecture, precision: Precision) -> u64 {
    let written = 4 * (a.num_conv_pos_embeddings + 4) * a.hidden_size * a.hidden_size
        / a.num_conv_pos_embedding_groups;
    (written * (4 + size(precision))) as u64 + copies(a, precision)
}

/// Of the copies of weights.
pub fn copies(a: &Architecture, precision: Precision) -> u64 {
    if precision == Precision::Bf16 {
        2 * count::parameters(a)
    } else {
        0
    }
}

fn size(precision: Precision) -> usize {
    if precision == Precision::Bf16 { 2 } else { 4 }
}

/// Bytes for rows of so many samples together. With `recompute`: the layers' inputs, and the largest layer once.
pub fn bytes(a: &Architecture, precision: Precision, recompute: bool, samples: usize) -> u64 {
    let p = size(precision);
    let by_layer = a.feat_extract_norm == ExtractNorm::Layer;
    let of_channel = |i: usize| {
        if by_layer {
            8 + p
        } else if i > 0 {
            2 * p
        } else {
            p
        }
    };
    let frames = a.frames_by_conv(samples);
    let convolutions: usize = frames
        .iter()
        .zip(&a.conv_dim)
        .enumerate()
        .map(|(i, (t, c))| t * c * of_channel(i))
        .sum();
    let (t, width) = (frames[frames.len() - 1], a.hidden_size);
    let layer =
        |l: usize| t * (2 * width * (4 + p) + p * (4 * a.heads(l) * a.head_dim() + a.ffn(l)));
    let layers = (0..a.num_hidden_layers).map(layer);
    let layers = match recompute {
        true => a.num_hidden_layers * t * 4 * width + layers.max().unwrap_or(0),
        false => layers.sum(),
    };
    (convolutions + layers) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second of audio: 6343 frames of 512 channels, 3199 of them of the first convolution, 49 of a layer.
    #[test]
    fn hubert_base() {
        let base = Architecture::named("hubert-base").expect("known");
        let frames = base.frames_by_conv(16000);
        assert_eq!(
            (frames.iter().sum::<usize>(), frames[0], frames[6]),
            (6343, 3199, 49)
        );
        let layers = |of_layer: usize| ((6343 * 8 - 3199 * 4) * 512 + 12 * 49 * of_layer) as u64;
        assert_eq!(bytes(&base, Precision::F32, false, 16000), layers(768 * 48));
        let bf16 = bytes(&base, Precision::Bf16, false, 16000);
        assert_eq!(
            bf16,
            ((6343 * 4 - 3199 * 2) * 512 + 12 * 49 * 768 * 28) as u64
        );
        assert_eq!(fixed(&base, Precision::F32), 4 * 132 * 768 * 48 * 8);
        assert_eq!(copies(&base, Precision::Bf16), 2 * 94_371_712);
        assert!(bytes(&base, Precision::Bf16, true, 16000) < bf16 - 11 * 49 * 768 * 23);
    }
}
