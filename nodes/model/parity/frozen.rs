//! Parts of an encoder that stand still.
use super::{gradient, load, load_model, pass, values, weighted};
use crate::model::{Convention, DropoutKey, Forward, Outputs};
use compute::tensor::{Tape, backward, read};
use std::collections::BTreeMap;

/// The last state, and the gradients of the named weights.
type Pass = (Vec<f32>, Vec<Vec<f32>>);

fn run(frozen_parts: usize, names: &[&str]) -> Pass {
    let mut model = load_model("base");
    model.architecture.hidden_dropout = 0.2;
    model.architecture.attention_dropout = 0.2;
    let theirs = load("masked.safetensors");
    let audio = [values(&theirs, "audio")];
    let gates = BTreeMap::new();
    let forward = Forward {
        frozen_parts,
        drops: DropoutKey(Some(7)),
        ..pass(&model, &gates, Tape::default())
    };
    let outputs = Outputs {
        layers: &[2],
        maps: &[],
        encoder_output: false,
        convention: Convention::Hf,
    };
    let features = forward.features(&audio);
    let last = forward.encode(features, None, outputs).hiddens.remove(0);
    let state = read(&last.values).into_owned();
    let upstream = values(&theirs, "upstream").to_vec();
    let mut gradients = backward(weighted(last.values, upstream), 1.0);
    let mut gradient_of = |name: &&str| gradient(&mut gradients, model.weights.get(name));
    (state, names.iter().map(&mut gradient_of).collect())
}

#[test]
fn what_stands_still_has_no_gradient_and_changes_no_other() {
    let frozen = "encoder.layers.0.feed_forward.output_dense.weight";
    let names = [
        "encoder.layers.1.attention.q_proj.weight",
        "encoder.layers.1.final_layer_norm.bias",
        frozen,
        "feature_projection.projection.weight",
    ];
    let (state, gradients) = run(0, &names);
    let (frozen_state, frozen_gradients) = run(3, &names);
    assert_eq!(state, frozen_state);
    assert_eq!(gradients[..2], frozen_gradients[..2]);
    for (trained, still) in gradients[2..].iter().zip(&frozen_gradients[2..]) {
        assert!(trained.iter().any(|x| *x != 0.0));
        assert!(still.iter().all(|x| *x == 0.0));
    }
}
