//! Cuts of gated models.
use super::{by_vector, close, close_to, gated_states, load, load_model, states, values};
use crate::model::{Convention, Model, Unit, UnknownKeys, count};
use crate::prune::{Finalize, gate, shrink::shrink, vectors};
use compute::tensor::{len, read};
use std::collections::BTreeMap;

/// An exact cut moves no state; a reference cut gives the reference's states.
#[test]
fn cutting_a_model() {
    let theirs = load("finalized/states.safetensors");
    let model = load_model("base");
    let audio = values(&theirs, "audio");
    let gates: BTreeMap<String, Vec<f32>> = by_vector(&theirs, "log_alpha/")
        .iter()
        .map(|(vector, log_alpha)| (vector.clone(), gate::fixed(log_alpha, 0)))
        .collect();
    for (vector, z) in by_vector(&theirs, "z/") {
        close(&vector, &gates[&vector], &z);
    }
    for (how, word) in [(Finalize::Exact, "before"), (Finalize::Reference, "after")] {
        let small = shrink(&model, &gates, how).expect("a model");
        let ours = states(&small, audio, Convention::Torchaudio);
        for (layer, state) in ours.iter().enumerate() {
            let name = format!("{word}/{layer}");
            close_to(&name, &read(&state.values), values(&theirs, &name), 1e-5);
        }
        assert_eq!(stored(&small), count::parameters(&small.architecture));
        let mut heads = small.architecture.encoder_num_heads.iter().flatten();
        assert!(heads.any(|n| *n == 0), "a layer loses its heads");
    }
    let gated = gated_states(&model, &gates, audio, Convention::Torchaudio);
    for (layer, state) in gated.iter().enumerate() {
        let name = format!("before/{layer}");
        close(&name, &read(&state.values), values(&theirs, &name));
    }
}

/// A cut model is cut again: what was folded stays folded.
#[test]
fn cutting_twice() {
    let theirs = load("finalized/states.safetensors");
    let audio = values(&theirs, "audio");
    let model = load_model("base");
    let gates = by_vector(&theirs, "z/");
    let once = shrink(&model, &gates, Finalize::Exact).expect("a model");
    let mut more = BTreeMap::new();
    for (vector, n) in vectors(&once.architecture, &[Unit::Conv, Unit::Head, Unit::Ffn]) {
        let every_second = (0..n).map(|i| if i % 2 == 0 { 0.75 } else { 0.0 });
        more.insert(vector, every_second.collect());
    }
    let twice = shrink(&once, &more, Finalize::Exact).expect("a model");
    assert!(count::parameters(&twice.architecture) < count::parameters(&once.architecture));
    let gated = gated_states(&once, &more, audio, Convention::Hf);
    let cut = states(&twice, audio, Convention::Hf);
    for (gated, cut) in gated.iter().zip(cut) {
        close_to("twice", &read(&cut.values), &read(&gated.values), 1e-5);
    }
}

/// The first layer loses its attention, the table of biases stays for the second. Saving and
/// loading in between changes nothing.
#[test]
fn cutting_a_wavlm_model() {
    let model = load_model("wavlm");
    let audio = load("wavlm_hidden.safetensors");
    let audio = values(&audio, "5999/audio");
    let folder = std::env::temp_dir().join(format!("wavlm-cut-{}", std::process::id()));
    let cut = |from: &Model, heads: [&[f32]; 2], remaining: [Vec<usize>; 2]| {
        let gates = BTreeMap::from([0, 1].map(|l| (format!("head.{l}"), heads[l].to_vec())));
        let small = shrink(from, &gates, Finalize::Exact).expect("a model");
        let heads = &small.architecture.encoder_remaining_heads;
        assert_eq!(*heads, Some(remaining.into()));
        assert_eq!(stored(&small), count::parameters(&small.architecture));
        small.save(&folder).expect("a folder");
        let small = Model::load(&folder, UnknownKeys::REFUSE).expect("what was written");
        assert_eq!(small.architecture.model_type, "pruned_wavlm");
        let gated = gated_states(from, &gates, audio, Convention::Hf);
        let cut = states(&small, audio, Convention::Hf);
        for (gated, cut) in gated.iter().zip(cut) {
            close_to("cut", &read(&cut.values), &read(&gated.values), 1e-5);
        }
        small
    };
    let once = cut(
        &model,
        [&[0.0; 4], &[0.5, 0.0, 0.0, 1.0]],
        [vec![], vec![0, 3]],
    );
    let twice = cut(&once, [&[], &[0.0, 0.75]], [vec![], vec![3]]);
    std::fs::remove_dir_all(&folder).expect("written above");
    let open = vectors(&twice.architecture, &[Unit::Head]);
    assert_eq!(open, BTreeMap::from([("head.1".to_owned(), 1)]));
}

fn stored(model: &Model) -> u64 {
    model.weights.0.values().map(|p| len(p) as u64).sum()
}
