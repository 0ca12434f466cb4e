//! Masked frames.
use super::{close, gradient, load, load_model, pass, values, weighted};
use crate::model::{Convention, Forward, MASK_EMBEDDING, OPEN, Outputs};
use compute::gemm::Precision;
use compute::tensor::{Tape, backward, read};
use std::collections::BTreeMap;

/// Asks for layers alone.
fn layers(layers: &[usize], convention: Convention) -> Outputs<'_> {
    Outputs {
        layers,
        maps: &[],
        encoder_output: false,
        convention,
    }
}

/// The mask embedding replaces masked frames from the positional convolution on.
#[test]
fn hidden_states_of_masked_frames() {
    let model = load_model("base");
    let theirs = load("masked.safetensors");
    let audio = [values(&theirs, "audio")];
    let mask: [Vec<bool>; 1] = [values(&theirs, "mask").iter().map(|m| *m > 0.0).collect()];
    let gates = BTreeMap::new();
    let pass = pass(&model, &gates, Tape::default());
    let features = pass.features(&audio);
    let mut states = pass
        .encode(features, Some(&mask), layers(&[0, 1, 2], Convention::Hf))
        .hiddens;
    for (layer, ours) in states.iter().enumerate() {
        let name = layer.to_string();
        close(&name, &read(&ours.values), values(&theirs, &name));
    }
    let last = states.remove(2).values;
    let upstream = values(&theirs, "upstream").to_vec();
    let mut gradients = backward(weighted(last, upstream), 1.0);
    let ours = gradient(&mut gradients, model.weights.get(MASK_EMBEDDING));
    close("gradient", &ours, values(&theirs, "grad"));
}

/// Where layer 0 is the feature projection's output, no mask changes it.
#[test]
fn masks_leave_the_projection() {
    let model = load_model("base");
    let theirs = load("masked.safetensors");
    let audio = [values(&theirs, "audio")];
    let mask: [Vec<bool>; 1] = [values(&theirs, "mask").iter().map(|m| *m > 0.0).collect()];
    let pass = Forward::frozen(&model, OPEN, Precision::F32);
    let plain = pass.hiddens(&audio, &[0, 1], Convention::Torchaudio);
    let features = pass.features(&audio);
    let masked = pass
        .encode(
            features,
            Some(&mask),
            layers(&[0, 1], Convention::Torchaudio),
        )
        .hiddens;
    let is_same = |layer: usize| read(&plain[layer].values) == read(&masked[layer].values);
    assert!(is_same(0) && !is_same(1));
}
