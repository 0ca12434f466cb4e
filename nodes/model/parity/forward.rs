//! Hidden states.
use super::{close, gradient, load, load_model, values};
use crate::data::file::Loaded;
use crate::model::{Convention, DropoutKey, Forward, Model, OPEN, Outputs};
use compute::gemm::Precision;
use compute::op::mse;
use compute::parallel::Vectors;
use compute::random::Key;
use compute::tensor::{
    Hidden, Number, ON_GPU, Tape, Track, backward, hidden, len, param, plus, put, read,
};
use std::collections::BTreeMap;

#[test]
fn hidden_states_of_base_type() {
    hidden_states_agree("base");
}

#[test]
fn hidden_states_of_large_type() {
    hidden_states_agree("large");
}

#[test]
fn hidden_states_of_wavlm() {
    hidden_states_agree("wavlm");
}

/// Norms before the sub-layers and WavLM's gated positions, odd taps, another epsilon of the norms.
#[test]
fn hidden_states_of_large_wavlm() {
    hidden_states_by_transformers("wavlm_large");
}

/// Convolutions with biases before the norm over time, odd taps, another epsilon of the norms.
#[test]
fn hidden_states_of_biased_convolutions() {
    hidden_states_by_transformers("group_bias");
}

fn hidden_states_by_transformers(name: &str) {
    let model = load_model(name);
    let pass = Forward::frozen(&model, OPEN, Precision::F32);
    let theirs = load(&format!("{name}_hidden.safetensors"));
    layers_agree(&pass, &theirs, Convention::Hf, "hf");
}

fn layers_agree(pass: &Forward<impl Track>, theirs: &Loaded, convention: Convention, word: &str) {
    for n in [400, 4000, 5999] {
        let audio = values(theirs, &format!("{n}/audio"));
        let states = pass.hiddens(&[audio], &[0, 1, 2], convention);
        for (layer, ours) in states.iter().enumerate() {
            let name = format!("{n}/{word}/{layer}");
            close(&name, &read(&ours.values), values(theirs, &name));
        }
    }
}

fn hidden_states_agree(name: &str) {
    let model = load_model(name);
    let theirs = load(&format!("{name}_hidden.safetensors"));
    let pass = Forward::frozen(&model, OPEN, Precision::F32);
    layers_agree(&pass, &theirs, Convention::Hf, "hf");
    layers_agree(&pass, &theirs, Convention::Torchaudio, "torchaudio");
    // Rows of a batch do not see each other.
    let [a, b] = ["4000/audio", "5999/audio"].map(|name| values(&theirs, name));
    let both = pass.hiddens(&[a, b], &[2], Convention::Hf);
    let expected = [values(&theirs, "4000/hf/2"), values(&theirs, "5999/hf/2")].concat();
    close("two rows", &read(&both[0].values), &expected);
}

#[test]
fn packing_weights_changes_no_bit() {
    let noise = Key::new(2, &["speech"]);
    let speech: Vec<f32> = (0..9000).map(|i| noise.normal(0, i)).collect();
    let rows = [&speech[..4000], &speech[4000..]];
    for name in ["base", "large", "wavlm_large", "group_bias"] {
        let model = load_model(name);
        for precision in [Precision::F32, Precision::Bf16] {
            let states = |model: &Model| -> Vec<Vec<u32>> {
                let pass = Forward::frozen(model, OPEN, precision);
                let states = pass.hiddens(&rows, &[0, 1, 2], Convention::Hf);
                let bits = |state: &Hidden| {
                    let numbers = read(&state.values);
                    numbers.iter().map(|x| x.to_bits()).collect()
                };
                states.iter().map(bits).collect()
            };
            let mut packed = model.clone();
            packed.pack(precision);
            let query = "encoder.layers.0.attention.q_proj.weight";
            let packs = !ON_GPU && Vectors::detect() != Vectors::Plain;
            assert_eq!(len(packed.weights.get(query)) == 1, packs);
            assert!(states(&packed) == states(&model), "{name} in {precision:?}");
        }
    }
}

#[test]
fn recomputing_layers_changes_no_bit() {
    let noise = Key::new(1, &["speech"]);
    let speech = |n: u64| (0..n).map(|i| noise.normal(0, i)).collect::<Vec<f32>>();
    let long = speech(4000);
    let short = speech(2500);
    for name in ["base", "large", "wavlm"] {
        let model = load_model(name);
        let gradients = |recompute: bool| -> Vec<Vec<f32>> {
            let gate = param(vec![0.7; model.architecture.heads(0)]);
            let tape = Tape::default();
            let gates = [("head.0".to_owned(), put(&gate, &tape))].into();
            let pass = Forward {
                model: &model,
                gates: &gates,
                drops: DropoutKey(Some(5)),
                precision: Precision::F32,
                recompute,
                average_gradients: false,
                frozen_parts: 0,
                tape,
            };
            let hiddens = pass.hiddens(&[&long, &short], &[1, 2], Convention::Hf);
            let loss = hiddens.into_iter().map(mean_square).reduce(plus);
            let mut gradients = backward(loss.expect("two layers"), 1.0);
            let trained = model.weights.0.values().chain([&gate]);
            trained.map(|p| gradient(&mut gradients, p)).collect()
        };
        assert!(gradients(true) == gradients(false), "{name}");
    }
}

/// Layers whose maps are returned are not computed again, and the others are.
#[test]
fn recomputed_layers_return_their_maps() {
    let noise = Key::new(3, &["speech"]);
    let speech: Vec<f32> = (0..4000).map(|i| noise.normal(0, i)).collect();
    let model = load_model("base");
    let maps = |recompute: bool, wanted: &[usize]| -> Vec<Vec<f32>> {
        let gates = BTreeMap::new();
        let pass = Forward::without_dropout(&model, &gates, Precision::F32, Tape::default());
        let pass = Forward { recompute, ..pass };
        let outputs = Outputs {
            layers: &[2],
            maps: wanted,
            encoder_output: false,
            convention: Convention::Hf,
        };
        let encoded = pass.encode(pass.features(&[&speech]), None, outputs);
        let maps = encoded.maps.iter();
        maps.map(|map| read(&map.values).into_owned()).collect()
    };
    for wanted in [&[1, 2][..], &[2]] {
        assert_eq!(maps(true, wanted).len(), wanted.len());
        assert!(maps(true, wanted) == maps(false, wanted));
    }
}

fn mean_square(x: Hidden<Tape>) -> Number<Tape> {
    let zero = hidden(vec![0.0; len(&x.values)], x.width(), x.spans.clone());
    mse(x, &zero)
}
