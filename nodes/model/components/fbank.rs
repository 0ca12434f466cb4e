//! The front end over log-mel frames, as fairseq's `Conv1dSubsampler` with one convolution, and the
//! linear map behind it (Wang et al. 2023).
use super::tensor::{Dim, Initial, TensorSpec, linear};
use super::{Component, ComponentKind, Elements, Macs};
use crate::model::Architecture;

/// Frames of 10 ms that one of 20 ms comes from.
const STRIDE: usize = 2;

/// Describes the convolution, whose second half of channels gates the first.
///
/// Retained are its input, which is small, its output and the gated half as the next product's
/// operand.
pub(super) fn convolution(a: &Architecture) -> Component {
    let kind = ComponentKind::FbankConvolution;
    let prefix = kind.prefix();
    let width = a.layer_width(0);
    let taps = a.fbank_conv_kernel[0];
    let outputs = Dim::fixed(2 * width);
    let inputs = Dim::fixed(a.fbank_bins);
    let drawn = Initial::Within(1.0 / ((a.fbank_bins * taps) as f64).sqrt());
    let tensors = vec![
        TensorSpec::new(
            format!("{prefix}weight"),
            &[outputs, inputs, Dim::fixed(taps)],
            drawn,
        ),
        TensorSpec::new(format!("{prefix}bias"), &[outputs], drawn),
    ];
    Component {
        macs: Macs {
            per_frame: outputs.len() * inputs.len() * taps,
            ..Macs::default()
        },
        retained: Elements {
            f32s: STRIDE * inputs.len() + outputs.len(),
            operands: width,
        },
        ..Component::new(kind, tensors)
    }
}

/// Describes the linear map: Xavier weights and no bias before training.
pub(super) fn projection(a: &Architecture) -> Component {
    let kind = ComponentKind::FbankProjection;
    let width = Dim::fixed(a.layer_width(0));
    let mut tensors = linear(&kind.prefix(), width, width);
    tensors[0].initial = Initial::Within((6.0 / (2 * width.len()) as f64).sqrt());
    Component {
        macs: Macs {
            per_frame: width.len() * width.len(),
            ..Macs::default()
        },
        ..Component::new(kind, tensors)
    }
}
