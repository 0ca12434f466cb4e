//! Rewrites pruned models so that programs without per-layer shapes compute the same.
//!
//! A channel of the last convolution that was cut comes back as zeros. The projection's norm then
//! has its statistics over all channels again; one of the channels that came back has γ = 1, and its
//! column of the projection is `folded`: it is 0 - mean times the inverse deviation after the norm,
//! which is what `folded` is multiplied by.
//!
//! Gates on channels of the last convolution become one more convolution
//! ([`super::gate_convolution`]). Heads and inner units that were cut come back with zero weights.
use super::draft::{Draft, NORM_WEIGHT, PROJECTION_WEIGHT, first};
use super::gate_convolution::gates_as_weights;
use crate::Result;
use crate::model::{Architecture, DUMMY_WEIGHT, Model};

const FOLDED: &str = "feature_projection.folded";
const NORM_BIAS: &str = "feature_projection.layer_norm.bias";
const PROJECTION_BIAS: &str = "feature_projection.projection.bias";

/// Returns the model with as many heads and inner units in each layer, without gates on channels
/// and closed channels, and with a feature projection.
///
/// # Errors
/// The model has something that these cannot express.
pub(super) fn dense(model: &Model) -> Result<Model> {
    let mut draft = Draft::new(model);
    let open = draft.architecture.channels();
    restore_channels(&mut draft)?;
    add_projection(&mut draft);
    gates_as_weights(&mut draft, open);
    restore_units(&mut draft)?;
    draft.finish()
}

/// Brings the closed channels of the last convolution back, as zeros; a dummy weight has zeros there.
pub(super) fn restore_channels(draft: &mut Draft) -> Result<()> {
    let Some(channels) = draft.architecture.feature_norm_width.take() else {
        return Ok(());
    };
    let open = draft.architecture.channels();
    let folded = draft.tensors.remove(FOLDED).unwrap_or_default().1;
    if open == channels {
        if folded.iter().any(|x| *x != 0.0) {
            return Err("`feature_norm_width` says that no channel was cut, but \
                        `feature_projection.folded` is not zero"
                .into());
        }
        return Ok(());
    }
    let last = draft.architecture.conv_dim.len() - 1;
    draft.architecture.conv_dim[last] = channels;
    let prefix = format!("feature_extractor.conv_layers.{last}.");
    for name in [
        "conv.weight",
        "conv.bias",
        "layer_norm.weight",
        "layer_norm.bias",
    ] {
        enlarge_first(draft, &format!("{prefix}{name}"), open, channels);
    }
    enlarge_first(draft, DUMMY_WEIGHT, open, channels);
    enlarge_first(draft, NORM_WEIGHT, open, channels);
    enlarge_first(draft, NORM_BIAS, open, channels);
    let width = folded.len();
    draft.enlarge(
        PROJECTION_WEIGHT,
        &[width, channels],
        &[first(width), first(open)],
    );
    if let Some((_, weight)) = draft.tensors.get_mut(PROJECTION_WEIGHT) {
        for (row, folded) in weight.chunks_exact_mut(channels).zip(&folded) {
            row[open] = *folded;
        }
    }
    if let Some((_, weight)) = draft.tensors.get_mut(NORM_WEIGHT) {
        weight[open] = 1.0;
    }
    Ok(())
}

/// Enlarges the first dimension of a tensor, if the model has it.
fn enlarge_first(draft: &mut Draft, name: &str, open: usize, channels: usize) {
    let Some((shape, _)) = draft.tensors.get(name) else {
        return;
    };
    let mut enlarged = shape.clone();
    enlarged[0] = channels;
    let mut places: Vec<Vec<usize>> = shape.iter().map(|size| first(*size)).collect();
    places[0] = first(open);
    draft.enlarge(name, &enlarged, &places);
}

/// Adds the identity as projection to a model that has none.
pub(super) fn add_projection(draft: &mut Draft) {
    if draft.architecture.feature_projection {
        return;
    }
    draft.architecture.feature_projection = true;
    let width = draft.architecture.hidden_size;
    let mut identity = vec![0.0; width * width];
    for i in 0..width {
        identity[i * width + i] = 1.0;
    }
    draft.set(PROJECTION_WEIGHT, &[width, width], identity);
    draft.set(PROJECTION_BIAS, &[width], vec![0.0; width]);
}

/// Brings cut heads and inner units back, with zero weights.
fn restore_units(draft: &mut Draft) -> Result<()> {
    let before = draft.architecture.clone();
    let layers = before.num_hidden_layers;
    let head_width = before.head_dim();
    let width = before.hidden_size;
    let heads = width / head_width;
    let most = (0..layers).map(|layer| before.heads(layer)).max();
    if !width.is_multiple_of(head_width) || most.unwrap_or(0) > heads {
        return Err(format!(
            "heads of {head_width} channels do not divide the width {width}; hf-code keeps them"
        )
        .into());
    }
    let units = (0..layers).map(|layer| before.ffn(layer)).max();
    let units = units.unwrap_or(0).max(1);
    let a = &mut draft.architecture;
    a.num_attention_heads = heads;
    a.intermediate_size = units;
    a.encoder_num_heads = None;
    a.encoder_remaining_heads = None;
    a.encoder_head_dim = None;
    a.encoder_ff_interm_features = None;
    a.encoder_keeps_bias = false;
    a.encoder_reuse_attention = None;
    let target = draft.architecture.clone();
    for layer in 0..layers {
        let kept_channels = head_channels(&before, layer);
        let kept_units = first(before.ffn(layer));
        let prefix = format!("encoder.layers.{layer}.");
        for map in ["q_proj", "k_proj", "v_proj"] {
            let name = |tensor: &str| format!("{prefix}attention.{map}.{tensor}");
            let rows = &kept_channels;
            let places = [rows.clone(), first(width)];
            draft.enlarge(&name("weight"), &[width, width], &places);
            draft.enlarge(&name("bias"), &[width], std::slice::from_ref(rows));
        }
        let name = |tensor: &str| format!("{prefix}{tensor}");
        let whole_width = first(width);
        let places = [whole_width.clone(), kept_channels];
        draft.enlarge(&name("attention.out_proj.weight"), &[width, width], &places);
        let places = [kept_units.clone(), whole_width.clone()];
        draft.enlarge(
            &name("feed_forward.intermediate_dense.weight"),
            &[units, width],
            &places,
        );
        let places = [kept_units.clone()];
        draft.enlarge(
            &name("feed_forward.intermediate_dense.bias"),
            &[units],
            &places,
        );
        let places = [whole_width.clone(), kept_units];
        draft.enlarge(
            &name("feed_forward.output_dense.weight"),
            &[width, units],
            &places,
        );
        for bias in ["attention.out_proj.bias", "feed_forward.output_dense.bias"] {
            draft.enlarge(&name(bias), &[width], std::slice::from_ref(&whole_width));
        }
    }
    // What is still missing belongs to position biases that nothing reads.
    for (name, shape) in target.tensors() {
        if !draft.tensors.contains_key(&name) {
            draft.enlarge(&name, &shape, &[]);
        }
    }
    Ok(())
}

/// Returns the channels of a layer's heads, in the order before pruning.
fn head_channels(a: &Architecture, layer: usize) -> Vec<usize> {
    let heads = if a.has_position_bias() {
        a.remaining_heads(layer)
    } else {
        first(a.heads(layer))
    };
    let width = a.head_dim();
    heads
        .into_iter()
        .flat_map(|head| head * width..(head + 1) * width)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parity::golden;
    use crate::model::{Unit, UnknownKeys};
    use crate::prune::{Finalize, shrink::shrink, vectors};
    use crate::tool::export::compare::greatest_difference;
    use std::collections::BTreeMap;

    /// Returns a golden model without the units that `gate` closes, by their numbers.
    fn cut(name: &str, units: &[Unit], gate: impl Fn(usize) -> f32) -> Model {
        let model = Model::load(&golden(name), UnknownKeys::REFUSE).expect(name);
        let gates: BTreeMap<String, Vec<f32>> = vectors(&model.architecture, units)
            .into_iter()
            .map(|(vector, n)| (vector, (0..n).map(&gate).collect()))
            .collect();
        shrink(&model, &gates, Finalize::Exact).expect("cut")
    }

    fn difference(name: &str, units: &[Unit], gate: impl Fn(usize) -> f32) -> f32 {
        let small = cut(name, units, gate);
        assert!(!small.architecture.is_transformers_own(), "{name}");
        let dense = dense(&small).expect(name);
        assert!(dense.architecture.is_transformers_own(), "{name}");
        assert!(dense.cmvn.is_none());
        greatest_difference(&small, &dense).expect("finite")
    }

    #[test]
    fn what_was_cut_comes_back_as_zeros() {
        let units = [Unit::Conv, Unit::Head, Unit::Ffn];
        for name in ["base", "wavlm"] {
            let hard = difference(name, &units, |i| if i % 3 == 1 { 0.0 } else { 1.0 });
            assert!(hard < 1e-5, "{name}: {hard}");
            let soft = difference(name, &units, |i| [0.7, 0.0, 1.0][i % 3]);
            assert!(soft < 1e-4, "{name}: {soft}");
        }
        let large = difference("large", &units[1..], |i| [0.7, 0.0, 1.0][i % 3]);
        assert!(large < 1e-5, "{large}");
    }

    #[test]
    fn sub_layers_that_are_gone_come_back() {
        for name in ["base", "wavlm", "large"] {
            let gone = difference(name, &[Unit::Head, Unit::Ffn], |_| 0.0);
            assert!(gone < 1e-5, "{name}: {gone}");
        }
    }

    #[test]
    fn a_model_without_projection_gets_the_identity() {
        let star = Model::load(&golden("star"), UnknownKeys::REFUSE).expect("star");
        let dense = dense(&star).expect("star");
        assert!(dense.architecture.is_transformers_own());
        assert_eq!(greatest_difference(&star, &dense).expect("finite"), 0.0);
    }
}
