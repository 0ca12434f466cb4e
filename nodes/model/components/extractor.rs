//! The feature extractor's convolutions.
use super::tensor::{Dim, Initial, TensorSpec, norm};
use super::{Component, ComponentKind, Elements, Macs};
use crate::model::{Architecture, ExtractNorm, Unit, UnitGroup};

/// DPHuBERT's factors on the channels of the last convolution: a constant that holds the gates
/// which the norm after it cannot take.
pub const DUMMY_WEIGHT: &str = "feature_extractor.dummy_weight";

/// Returns the dimension of the output channels of convolution `i`.
pub(super) fn channels(a: &Architecture, i: usize) -> Dim {
    Dim::units(UnitGroup::new(Unit::Conv, i), a.conv_dim[i], 1)
}

/// Describes convolution `i` and its norm.
///
/// Retained are the output before its activation, and the activation as the next product's operand.
/// With a layer norm the norm's input is retained too, all but the operand in f32. A first
/// convolution with a norm over time is computed again.
pub(super) fn convolution(a: &Architecture, i: usize) -> Component {
    let kind = ComponentKind::Convolution(i);
    let prefix = kind.prefix();
    let outputs = channels(a, i);
    let inputs = match i {
        0 => Dim::fixed(1),
        _ => channels(a, i - 1).taking_gates(),
    };
    let taps = a.conv_kernel[i];
    let by_layer = a.feat_extract_norm == ExtractNorm::Layer;

    let kaiming = Initial::Normal((2.0 / (inputs.len() * taps) as f64).sqrt());
    let dims = [outputs, inputs, Dim::fixed(taps)];
    let mut tensors = vec![TensorSpec::new(
        format!("{prefix}conv.weight"),
        &dims,
        kaiming,
    )];
    if a.conv_bias {
        let name = format!("{prefix}conv.bias");
        tensors.push(TensorSpec::new(name, &[outputs], Initial::Zeros));
    }
    if i == 0 || by_layer {
        tensors.extend(norm(&format!("{prefix}layer_norm."), outputs));
    }

    let [f32s, operands] = match (by_layer, i) {
        (true, _) => [2, 1],
        (false, 0) => [0, 1],
        (false, _) => [0, 2],
    };
    Component {
        macs: Macs {
            per_frame: inputs.len() * outputs.len() * taps,
            ..Macs::default()
        },
        retained: Elements {
            f32s: f32s * outputs.len(),
            operands: operands * outputs.len(),
        },
        ..Component::new(kind, tensors)
    }
}
