//! Hard Concrete gates, and the penalty on expected parameters.
use super::{by_vector, close, golden, gradient, load, params, values, weighted};
use crate::model::{Unit, UnknownKeys, read_architecture};
use crate::prune::{expected, gate, penalty::penalty, vectors};
use compute::tensor::{Tape, backward, param, read, read_all};
use std::collections::BTreeMap;

#[test]
fn gates() {
    let theirs = load("gates.safetensors");
    for mean in ["0.0", "4.6"] {
        let golden = |name: &str| values(&theirs, &format!("train/{mean}/{name}"));
        let log_alpha = param(golden("log_alpha").to_vec());
        let u = |i: usize| golden("u")[i] as f64;
        let z = gate::sample(
            &log_alpha,
            gate::draw(&read(&log_alpha), u),
            &Tape::default(),
        );
        close("z", &read(&z), golden("z"));
        let mut gradients = backward(weighted(z, golden("upstream").to_vec()), 1.0);
        let ours = gradient(&mut gradients, &log_alpha);
        close("gradient", &ours, golden("grad"));
        let (open, slope) = gate::open(&read(&log_alpha));
        close("expected", &[open as f32], golden("l0"));
        let slope: Vec<f32> = slope.iter().map(|x| *x as f32).collect();
        close("slope", &slope, golden("l0_grad"));
    }
    let fixed: Vec<&str> = theirs
        .keys()
        .filter_map(|name| name.strip_prefix("eval/")?.strip_suffix("/z"))
        .collect();
    assert!(fixed.len() > 10);
    for case in fixed {
        let golden = |name: &str| values(&theirs, &format!("eval/{case}/{name}"));
        close(case, &gate::fixed(golden("log_alpha"), 0), golden("z"));
    }
}

#[test]
fn penalty_and_its_gradient() {
    penalty_agrees("three", &[Unit::Conv, Unit::Head, Unit::Ffn]);
    penalty_agrees("five", &Unit::ALL);
}

fn penalty_agrees(case: &str, units: &[Unit]) {
    let theirs = load("penalty.safetensors");
    let golden_values = |name: &str| values(&theirs, &format!("{case}/{name}"));
    let by_gate = |what: &str| by_vector(&theirs, &format!("{case}/{what}/"));
    let architecture = read_architecture(&golden("base"), UnknownKeys::REFUSE).expect("base");
    let log_alpha = params(&by_gate("log_alpha"));
    assert_eq!(log_alpha.len(), vectors(&architecture, units).len());

    let open = log_alpha
        .iter()
        .map(|(vector, values)| (vector.clone(), gate::open(&read(values)).0))
        .collect();
    let ungated = expected::parameters(&architecture, &BTreeMap::new());
    let left = expected::parameters(&architecture, &open);
    close(
        "original",
        &[ungated.count as f32],
        golden_values("original"),
    );
    close("expected", &[left.count as f32], golden_values("expected"));
    for (vector, theirs) in by_gate("size_grad") {
        let (_, by_log_alpha) = gate::open(&read(&log_alpha[&vector]));
        let slope = left.slope[&vector];
        let ours: Vec<f32> = by_log_alpha.iter().map(|d| (d * slope) as f32).collect();
        close(&vector, &ours, &theirs);
    }
    let lambda = [0, 1].map(|i| param(vec![golden_values("lambda")[i]]));
    let numbers = read_all(log_alpha.values().chain(&lambda));
    let target = golden_values("target")[0] as f64;
    let tape = Tape::default();
    let penalty = penalty(&architecture, &log_alpha, &lambda, &numbers, target, &tape);
    close("loss", &read(&penalty.value), golden_values("loss"));
    let mut gradients = backward(penalty.value, 1.0);
    for (vector, theirs) in by_gate("loss_grad") {
        let ours = gradient(&mut gradients, &log_alpha[&vector]);
        close(&vector, &ours, &theirs);
    }
    let ours = lambda.each_ref().map(|l| gradient(&mut gradients, l)[0]);
    close("lambda", &ours, golden_values("lambda_grad"));
}
