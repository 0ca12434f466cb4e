//! Gates on whole sub-layers, with those on their units: DPHuBERT's numbers, and cuts of random
//! models.
use super::{
    by_vector, close, close_to, gated_states, gradient, load, load_model, params, pass, states,
    values, weighted,
};
use crate::model::{Convention, Unit, count};
use crate::prune::{Finalize, gate, shrink::shrink, vectors};
use crate::tool::inspect::inspect;
use compute::tensor::{Hidden, Tape, backward, read};
use std::collections::BTreeMap;

#[test]
fn a_sampled_pass_and_its_gradient() {
    let theirs = load("layer_gates.safetensors");
    let model = load_model("base");
    let tape = Tape::default();
    let log_alpha = params(&by_vector(&theirs, "train/log_alpha/"));
    let u = by_vector(&theirs, "train/u/");
    let gates = vectors(&model.architecture, &Unit::ALL);
    assert_eq!(log_alpha.len(), gates.len());
    let mut sampled = BTreeMap::new();
    for (vector, log_alpha) in &log_alpha {
        let u = |i: usize| u[vector][i] as f64;
        let z = gate::sample(log_alpha, gate::draw(&read(log_alpha), u), &tape);
        sampled.insert(vector.clone(), z);
    }
    let audio = values(&theirs, "audio");
    let pass = pass(&model, &sampled, tape);
    let mut states = pass.hiddens(&[audio], &[0, 1, 2], Convention::Torchaudio);
    for (layer, state) in states.iter().enumerate() {
        let name = format!("train/{layer}");
        close(&name, &read(&state.values), values(&theirs, &name));
    }
    let last = states.pop().expect("three states").values;
    let upstream = values(&theirs, "train/upstream").to_vec();
    let mut gradients = backward(weighted(last, upstream), 1.0);
    for (vector, theirs) in by_vector(&theirs, "train/grad/") {
        let of_layer = vector.contains("layer");
        assert!(!of_layer || theirs[0] != 0.0, "{vector} does not move");
        // The gradient of a layer's gate is one number, a sum over frames and channels that cancel:
        // on a GPU the last bit of the samples moves it by 2e-4.
        let tolerance = if of_layer && cfg!(feature = "cuda") {
            5e-4
        } else {
            1e-4
        };
        let ours = gradient(&mut gradients, &log_alpha[&vector]);
        close_to(&vector, &ours, &theirs, tolerance);
    }
}

#[test]
fn cutting_whole_layers() {
    let theirs = load("layer_gates.safetensors");
    let model = load_model("base");
    let audio = values(&theirs, "audio");
    let fixed = by_vector(&theirs, "z/");
    let agree = |ours: Vec<Hidden>, word: &str| {
        for (layer, state) in ours.iter().enumerate() {
            let name = format!("{word}/{layer}");
            close_to(&name, &read(&state.values), values(&theirs, &name), 1e-5);
        }
    };
    let gated = gated_states(&model, &fixed, audio, Convention::Torchaudio);
    agree(gated, "before");
    for (how, word) in [(Finalize::Exact, "before"), (Finalize::Reference, "after")] {
        let small = shrink(&model, &fixed, how).expect("a model");
        let a = &small.architecture;
        let present = [a.heads(0), a.heads(1), a.ffn(0), a.ffn(1)].map(|n| n > 0);
        assert_eq!(present, [false, true, true, false], "{a:?}");
        // A closed layer adds nothing; an open one without units adds its bias.
        assert_eq!(a.encoder_keeps_bias, how == Finalize::Exact);
        agree(states(&small, audio, Convention::Torchaudio), word);
    }
}

/// Closes every choice of sub-layers, with and without gates on units: no state moves, and the
/// saved folder can be read.
#[test]
fn cutting_any_layers() {
    let folder = std::env::temp_dir().join(format!("layers-cut-{}", std::process::id()));
    let audio = load("base_hidden.safetensors");
    let audio = &values(&audio, "4000/audio")[..1200];
    for (name, units) in [
        ("base", &Unit::ALL[..]),
        ("base", &Unit::ALL[3..]),
        ("large", &Unit::ALL[1..]),
        ("wavlm", &Unit::ALL[..]),
    ] {
        let model = load_model(name);
        for closed in 0..16 {
            let gates: BTreeMap<String, Vec<f32>> = vectors(&model.architecture, units)
                .into_iter()
                .map(|(vector, n)| (vector.clone(), fixed_gates(&vector, n, closed)))
                .collect();
            let small = shrink(&model, &gates, Finalize::Exact).expect("a model");
            let gated = gated_states(&model, &gates, audio, Convention::Torchaudio);
            let cut = states(&small, audio, Convention::Torchaudio);
            for (gated, cut) in gated.iter().zip(cut) {
                let what = format!("{name} {closed}");
                close_to(&what, &read(&cut.values), &read(&gated.values), 1e-5);
            }
            assert!(!small.architecture.encoder_keeps_bias);
            if closed % 5 == 0 {
                small.save(&folder).expect("a folder");
                let found = inspect(&folder).expect("a model");
                let absent: Vec<bool> = [found.heads, found.ffn]
                    .concat()
                    .iter()
                    .map(|n| *n == 0)
                    .collect();
                assert_eq!(absent, [0, 1, 2, 3].map(|bit| closed >> bit & 1 == 1));
                assert_eq!(found.parameters, count::parameters(&small.architecture));
            }
        }
    }
    std::fs::remove_dir_all(&folder).expect("written above");
}

/// Returns the gates of a vector. Bits 0 and 1 of `closed` close the attention of layers 0 and 1,
/// bits 2 and 3 the feed-forwards.
fn fixed_gates(vector: &str, n: usize, closed: usize) -> Vec<f32> {
    if vector.contains("layer") {
        let layer = vector.ends_with(".1") as usize;
        let bit = if vector.starts_with("ffn") {
            2 + layer
        } else {
            layer
        };
        vec![if closed >> bit & 1 == 1 { 0.0 } else { 0.7 }]
    } else {
        (0..n).map(|i| [0.5, 0.0, 1.0][(i + closed) % 3]).collect()
    }
}
