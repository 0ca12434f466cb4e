//! Gates z on channels of the last convolution, for programs that have none: one more convolution of
//! kernel 1 with s z on its diagonal and a bias b. What it receives is at least -0.17, so its GELU
//! is linear to f32's last bit, and the norm behind it takes b away again.
//!
//! A sum with b loses bits of z x: the larger s, the fewer. But the norm divides by
//! sqrt(s² variance + ε), not by s sqrt(variance + ε). The missing (s² - 1) ε of variance come from
//! two closed channels at b + d and b - d, with 2 d² = C (s² - 1) ε for C channels; the mean stays.
//! Each of the two has half of the projection's column of the one closed channel that had one.
//! Without two closed channels s is 1.
//!
//! In an extractor of layer norms one stands behind the added convolution too. For features of
//! variance v it divides by sqrt(s² v + ε₁), and the projection's norm then by
//! sqrt(s² v / (s² v + ε₁) + ε₂): by sqrt((1 + ε₂) (v + ε₂)) in all, if s² = ε₁ / (1 + ε₂). The
//! projection norm's factors take sqrt(1 + ε₂) back.
use super::draft::{Draft, NORM_WEIGHT, PROJECTION_WEIGHT};
use crate::model::{DUMMY_WEIGHT, ExtractNorm};

/// GELU(t) = t in f32 from about 5.5 on.
const LINEAR_FROM: f32 = 6.0;
/// GELU is never below minus this.
const LEAST_GELU: f32 = 0.17;
/// The epsilon of the extractor's norms.
const EXTRACTOR_EPSILON: f64 = 1e-5;
/// s, where closed channels make up for it.
const SCALE: f32 = 64.0;

/// Replaces the gates of a model of which the first `open` channels of the last convolution were not
/// closed: by a convolution, or where no norm follows by factors of the projection's columns.
pub(super) fn gates_as_weights(draft: &mut Draft, open: usize) {
    if !draft.architecture.feature_dummy_weight {
        return;
    }
    draft.architecture.feature_dummy_weight = false;
    let gates = draft.tensors.remove(DUMMY_WEIGHT).unwrap_or_default().1;
    if !draft.architecture.feat_proj_layer_norm {
        if let Some((_, weight)) = draft.tensors.get_mut(PROJECTION_WEIGHT) {
            for row in weight.chunks_exact_mut(gates.len()) {
                row.iter_mut().zip(&gates).for_each(|(x, gate)| *x *= gate);
            }
        }
        return;
    }
    if draft.architecture.feat_extract_norm == ExtractNorm::Layer {
        // Normalised channels may lie some deviations below zero.
        let channels = gates.len();
        let shift = vec![2.0 * LINEAR_FROM; channels];
        let both = 1.0 + draft.architecture.layer_norm_eps;
        let scale = (EXTRACTOR_EPSILON / both).sqrt() as f32;
        let scaled = gates.iter().map(|gate| gate * scale).collect::<Vec<_>>();
        let added = add_convolution(draft, &scaled, vec![0.0; channels]);
        if let Some((_, norm)) = draft.tensors.get_mut(NORM_WEIGHT) {
            norm.iter_mut().for_each(|x| *x *= both.sqrt() as f32);
        }
        let norm = convolution_tensor(added, "layer_norm");
        draft.set(&format!("{norm}.weight"), &[channels], vec![1.0; channels]);
        draft.set(&format!("{norm}.bias"), &[channels], shift);
        return;
    }
    let has_pair = gates.len() >= open + 2;
    let scale = if has_pair { SCALE } else { 1.0 };
    let epsilon = draft.architecture.layer_norm_eps;
    let missing = gates.len() as f64 * (f64::from(scale).powi(2) - 1.0) * epsilon;
    let distance = (missing / 2.0).sqrt() as f32;
    let largest = gates
        .iter()
        .fold(0.0, |largest: f32, gate| largest.max(*gate));
    let shift = LINEAR_FROM + LEAST_GELU * scale * largest + distance;
    let mut bias = vec![shift; gates.len()];
    if has_pair {
        bias[open] += distance;
        bias[open + 1] -= distance;
        share_column(draft, open, gates.len());
    }
    let scaled: Vec<f32> = gates.iter().map(|gate| gate * scale).collect();
    add_convolution(draft, &scaled, bias);
}

/// Adds the convolution with this diagonal and bias, and returns its number.
fn add_convolution(draft: &mut Draft, diagonal: &[f32], bias: Vec<f32>) -> usize {
    let channels = diagonal.len();
    let a = &mut draft.architecture;
    let added = a.conv_dim.len();
    let before = a.conv_dim.clone();
    a.conv_dim.push(channels);
    a.conv_kernel.push(1);
    a.conv_stride.push(1);
    if !std::mem::replace(&mut a.conv_bias, true) {
        for (i, channels) in before.into_iter().enumerate() {
            let name = convolution_tensor(i, "conv.bias");
            draft.set(&name, &[channels], vec![0.0; channels]);
        }
    }
    let mut weight = vec![0.0; channels * channels];
    for (i, value) in diagonal.iter().enumerate() {
        weight[i * channels + i] = *value;
    }
    let name = convolution_tensor(added, "conv.weight");
    draft.set(&name, &[channels, channels, 1], weight);
    draft.set(&convolution_tensor(added, "conv.bias"), &[channels], bias);
    added
}

fn convolution_tensor(i: usize, tensor: &str) -> String {
    format!("feature_extractor.conv_layers.{i}.{tensor}")
}

/// Gives half of the projection's column of the first closed channel to the second one.
fn share_column(draft: &mut Draft, open: usize, channels: usize) {
    if let Some((_, norm)) = draft.tensors.get_mut(NORM_WEIGHT) {
        norm[open + 1] = norm[open];
    }
    if let Some((_, weight)) = draft.tensors.get_mut(PROJECTION_WEIGHT) {
        for row in weight.chunks_exact_mut(channels) {
            row[open] /= 2.0;
            row[open + 1] = row[open];
        }
    }
}
