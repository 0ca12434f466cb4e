//! Averaged gradients of layers against the closed form of ARMHuBERT's `layer_grad_scale`, in a model
//! whose layers hand on their outputs alone: none reuses an attention map.
use super::{close_to, gradient, load, load_model, values, weighted};
use crate::model::{Convention, Forward, Model, Outputs};
use compute::gemm::Precision;
use compute::random::Key;
use compute::tensor::{Hidden, Tape, backward, len, plus, read};
use std::collections::BTreeMap;

const LAYERS: usize = 4;

/// Parameters whose gradients are compared, with the first layer, from 0, through whose output all
/// of the gradient comes.
fn parameters() -> Vec<(String, usize)> {
    let mut parameters = vec![("feature_extractor.conv_layers.2.conv.weight".to_owned(), 0)];
    for l in 0..LAYERS {
        for name in ["attention.q_proj.weight", "final_layer_norm.bias"] {
            parameters.push((format!("encoder.layers.{l}.{name}"), l));
        }
    }
    parameters
}

/// Returns the hidden states of layers 1 to 4 of two rows.
fn hiddens(model: &Model, average_gradients: bool, tape: &Tape) -> Vec<Hidden<Tape>> {
    let theirs = load("star.safetensors");
    let audio = ["audio/a", "audio/b"].map(|name| values(&theirs, name));
    let gates = BTreeMap::new();
    let pass = Forward {
        average_gradients,
        ..Forward::without_dropout(model, &gates, Precision::F32, tape.clone())
    };
    let outputs = Outputs {
        layers: &[1, 2, 3, 4],
        maps: &[],
        encoder_output: false,
        convention: Convention::Hf,
    };
    pass.encode(pass.features(&audio), None, outputs).hiddens
}

/// Returns the gradients of all parameters of what some readers, from 0, make of their layers.
fn gradients(model: &Model, average_gradients: bool, readers: &[usize]) -> Vec<Vec<f32>> {
    let tape = Tape::default();
    let noise = Key::new(3, &["upstream"]);
    let layers = hiddens(model, average_gradients, &tape).into_iter();
    let mut total = None;
    for (m, x) in layers.enumerate().filter(|(m, _)| readers.contains(m)) {
        let upstream = (0..len(&x.values) as u64).map(|i| noise.normal(m as u64, i));
        let upstream = upstream.collect();
        let value = weighted(x.values, upstream);
        total = Some(match total {
            Some(sum) => plus(sum, value),
            None => value,
        });
    }
    let mut gradients = backward(total.expect("a reader"), 1.0);
    parameters()
        .iter()
        .map(|(name, _)| gradient(&mut gradients, model.weights.get(name)))
        .collect()
}

/// What reader m sends to layer l ≤ m is scaled by (L - m) / ((L + 1 - m) (L + 1 - l)); what several
/// readers send is added.
#[test]
fn averaged_gradients_are_their_closed_form() {
    let model = load_model("star");
    assert!(model.architecture.encoder_reuse_attention.is_none());
    let mut all_readers: Vec<Vec<f32>> = vec![];
    for m in 0..LAYERS {
        let plain = gradients(&model, false, &[m]);
        let averaged = gradients(&model, true, &[m]);
        let mut expected = vec![];
        for ((name, l), plain) in parameters().iter().zip(&plain) {
            let factor = (LAYERS - m) as f32 / ((LAYERS + 1 - m) * (LAYERS + 1 - l)) as f32;
            expected.push(plain.iter().map(|d| factor * d).collect::<Vec<f32>>());
            let reached = plain.iter().any(|d| *d != 0.0);
            assert_eq!(reached, *l <= m, "{name} by reader {m}");
        }
        for (((name, l), expected), ours) in parameters().iter().zip(&expected).zip(&averaged) {
            if *l <= m {
                close_to(&format!("{name} by reader {m}"), ours, expected, 1e-4);
            }
        }
        match all_readers.is_empty() {
            true => all_readers = expected,
            false => {
                for (sum, expected) in all_readers.iter_mut().zip(&expected) {
                    sum.iter_mut().zip(expected).for_each(|(a, b)| *a += b);
                }
            }
        }
    }
    let together = gradients(&model, true, &[0, 1, 2, 3]);
    for (((name, _), sum), ours) in parameters().iter().zip(&all_readers).zip(&together) {
        close_to(name, ours, sum, 1e-4);
    }
}

/// The scales change gradients alone.
#[test]
fn averaging_gradients_changes_no_hidden_state() {
    let model = load_model("star");
    let tape = Tape::default();
    let plain = hiddens(&model, false, &tape);
    for (plain, averaged) in plain.iter().zip(hiddens(&model, true, &tape)) {
        assert_eq!(read(&plain.values), read(&averaged.values));
    }
}
