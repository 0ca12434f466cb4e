//! Compares our numbers with those of PyTorch, transformers and DPHuBERT, on small random weights
//! (tests/golden/README.md).
mod bf16;
mod changed_files;
mod cutting;
mod fbank;
mod formats;
mod forward;
mod frozen;
mod gates;
mod layer_gradients;
mod losses;
mod lstm;
mod masks;
mod update;
mod whole_layers;

use crate::data::file::{self, Loaded};
use crate::model::{Convention, Forward, Model, OPEN, UnknownKeys};
use compute::gemm::Precision;
use compute::op::given_number;
use compute::tensor::{
    Device, Gradients, Hidden, Number, Param, Shape, Tape, Tensor, Track, Vector, param, read,
    split,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub fn golden(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden")).join(name)
}

/// Loads a golden file of tensors.
pub fn load(name: &str) -> Loaded {
    file::load(&golden(name)).expect(name)
}

fn load_model(name: &str) -> Model {
    Model::load(&golden(name), UnknownKeys::REFUSE).expect(name)
}

pub fn values<'a>(tensors: &'a Loaded, name: &str) -> &'a [f32] {
    &tensors
        .get(name)
        .unwrap_or_else(|| panic!("no golden `{name}`"))
        .1
}

/// Asserts that values agree within 1e-4 of the largest.
pub fn close(what: &str, ours: &[f32], theirs: &[f32]) {
    close_to(what, ours, theirs, 1e-4);
}

/// Asserts that values agree within this share of the largest.
pub fn close_to(what: &str, ours: &[f32], theirs: &[f32], within: f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}: lengths differ");
    let largest = theirs.iter().fold(0f32, |m, x| m.max(x.abs()));
    let worst = ours
        .iter()
        .zip(theirs)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(
        worst <= within * largest.max(1e-3),
        "{what}: differs by {worst}, largest value {largest}"
    );
}

/// Returns our name of a gate vector for DPHuBERT's: `conv.0` for
/// `feature_extractor.conv_layers.0.hard_concrete`.
fn vector(gate: &str) -> String {
    let number = gate
        .split('.')
        .find(|part| part.parse::<usize>().is_ok())
        .expect("a layer's number");
    let units = [
        ("feature_extractor", "conv"),
        ("for_heads", "head"),
        ("for_intermediate", "ffn"),
        ("attention.hard_concrete_for_layer", "attention-layer"),
        ("feed_forward.hard_concrete_for_layer", "ffn-layer"),
    ];
    let (_, unit) = units
        .iter()
        .find(|(part, _)| gate.contains(part))
        .expect("a unit");
    format!("{unit}.{number}")
}

/// Returns the tensors whose names are `prefix` and a gate's name, by gate vector.
fn by_vector(tensors: &Loaded, prefix: &str) -> BTreeMap<String, Vec<f32>> {
    let named = tensors
        .iter()
        .filter_map(|(name, (_, values))| Some((name.strip_prefix(prefix)?, values)));
    named
        .map(|(gate, values)| (vector(gate), values.clone()))
        .collect()
}

fn params(values: &BTreeMap<String, Vec<f32>>) -> BTreeMap<String, Param> {
    values
        .iter()
        .map(|(name, values)| (name.clone(), param(values.clone())))
        .collect()
}

/// Builds a pass without dropout in f32.
fn pass<'a, T: Track>(
    model: &'a Model,
    gates: &'a BTreeMap<String, Vector<T>>,
    tape: T,
) -> Forward<'a, T> {
    Forward::without_dropout(model, gates, Precision::F32, tape)
}

/// Returns the states 0, 1 and 2 of one waveform without gates.
fn states(model: &Model, audio: &[f32], convention: Convention) -> Vec<Hidden> {
    Forward::frozen(model, OPEN, Precision::F32).hiddens(&[audio], &[0, 1, 2], convention)
}

/// Returns the states 0, 1 and 2 of one waveform with fixed gates.
fn gated_states(
    model: &Model,
    gates: &BTreeMap<String, Vec<f32>>,
    audio: &[f32],
    convention: Convention,
) -> Vec<Hidden> {
    let gates = params(gates);
    Forward::frozen(model, &gates, Precision::F32).hiddens(&[audio], &[0, 1, 2], convention)
}

/// Returns Σ upstream · x, whose gradient by x is `upstream`.
pub fn weighted<S: Shape>(x: Tensor<S, f32, Device, Tape>, upstream: Vec<f32>) -> Number<Tape> {
    let (x, tape) = split(x);
    let slope = upstream.into_iter().map(f64::from).collect();
    given_number(0.0, vec![(x, slope)], tape)
}

/// Takes out the gradient of `t`.
pub fn gradient<S: Shape>(gradients: &mut Gradients, t: &Tensor<S, f32, Device>) -> Vec<f32> {
    read(&gradients.of(t)).into()
}
