//! What precedes the layers of Whisper's encoder.
use super::tensor::{Dim, Initial, LINEAR, TensorSpec};
use super::{Component, ComponentKind, Macs};
use crate::model::Architecture;
use crate::model::whisper::POSITIONS;

/// Describes one of the two convolutions over log-mel frames.
pub(super) fn convolution(a: &Architecture, i: usize) -> Component {
    let kind = ComponentKind::WhisperConvolution(i);
    let prefix = kind.prefix();
    let inputs = if i == 0 {
        a.fbank_bins
    } else {
        a.conv_dim[i - 1]
    };
    let inputs = Dim::fixed(inputs);
    let outputs = Dim::fixed(a.conv_dim[i]);
    let taps = a.conv_kernel[i];
    let bound = Initial::Within(1.0 / ((inputs.len() * taps) as f64).sqrt());
    let dims = [outputs, inputs, Dim::fixed(taps)];
    let tensors = vec![
        TensorSpec::new(format!("{prefix}weight"), &dims, bound),
        TensorSpec::new(format!("{prefix}bias"), &[outputs], bound),
    ];
    Component {
        macs: Macs {
            per_frame: inputs.len() * outputs.len() * taps,
            ..Macs::default()
        },
        ..Component::new(kind, tensors)
    }
}

/// Describes the vector that each position adds.
pub(super) fn positions(a: &Architecture) -> Component {
    let kind = ComponentKind::WhisperPositions;
    let dims = [Dim::fixed(POSITIONS), Dim::fixed(a.hidden_size)];
    let table = TensorSpec::new(format!("{}weight", kind.prefix()), &dims, LINEAR);
    Component::new(kind, vec![table])
}
