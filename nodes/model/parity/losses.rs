//! Distillation losses, and the LSTM layer.
use super::{close, close_to, gradient, load, values, weighted};
use crate::kind::loss;
use compute::gemm::Precision;
use compute::op::lstm;
use compute::tensor::{Param, Spans, Tape, backward, hidden, param, read};

#[test]
fn losses() {
    let theirs = load("losses.safetensors");
    let (shape, student) = &theirs["student"];
    let spans = Spans::new(vec![shape[1]; shape[0]]);
    let student = hidden(student.clone(), shape[2], spans.clone());
    let target = hidden(values(&theirs, "target").to_vec(), shape[2], spans);
    for (name, distance) in loss::parity::DISTANCES {
        let value = distance(student.on(&Tape::default()), &target);
        close(name, &read(&value), values(&theirs, name));
        let gradient = gradient(&mut backward(value, 1.0), &student.values);
        close(name, &gradient, values(&theirs, &format!("{name}_grad")));
    }
}

/// A GPU sums in another order.
const LSTM: f32 = if cfg!(feature = "cuda") { 3e-6 } else { 1e-6 };

#[test]
fn a_layer_of_lstm() {
    let theirs = load("lstm.safetensors");
    let lengths = [4, 9, 1];
    let rows = |what: &str| {
        lengths
            .map(|n| values(&theirs, &format!("{n}/{what}")))
            .concat()
    };
    let mut names = vec![];
    for direction in ["", "_reverse"] {
        for tensor in ["weight_ih", "weight_hh", "bias_ih", "bias_hh"] {
            names.push(format!("{tensor}_l0{direction}"));
        }
    }
    let p: Vec<Param> = names
        .iter()
        .map(|name| param(values(&theirs, name).to_vec()))
        .collect();
    let x = hidden(rows("x"), 5, Spans::new(lengths));
    let [forward, reverse] = [0, 4].map(|i| [&p[i], &p[i + 1], &p[i + 2], &p[i + 3]]);
    let y = lstm(x.on(&Tape::default()), &[forward, reverse], Precision::F32);
    close_to("y", &read(&y.values), &rows("y"), LSTM);
    let mut gradients = backward(weighted(y.values, rows("upstream")), 1.0);
    let ours = gradient(&mut gradients, &x.values);
    close_to("dx", &ours, &rows("grad"), LSTM);
    for (name, p) in names.iter().zip(&p) {
        let ours = gradient(&mut gradients, p);
        close_to(name, &ours, values(&theirs, &format!("grad/{name}")), LSTM);
    }
}
