//! Two updates of a gated student: losses, penalty, gradients, clipping, AdamW.
use super::{by_vector, close, golden, gradient, load, load_model, pass, values, vector};
use crate::data::file::Loaded;
use crate::kind::loss;
use crate::kind::optimize::parity::{Adam, clip};
use crate::model::{Convention, Forward, Model, OPEN, UnknownKeys};
use crate::prune::{gate, penalty::penalty};
use compute::gemm::Precision;
use compute::op::linear;
use compute::tensor::{
    Gradients, Hidden, Param, Tape, backward, param, plus, read, read_all, scaled,
};
use std::collections::BTreeMap;

/// The student of `step.safetensors` with all that an update moves, by the golden's names.
struct Trained {
    model: Model,
    log_alpha: BTreeMap<String, Param>,
    maps: [[Param; 2]; 2],
    lambda: [Param; 2],
}

impl Trained {
    fn new(theirs: &Loaded) -> Trained {
        let before = |name: &str| param(values(theirs, &format!("before/{name}")).to_vec());
        let mut model = load_model("base");
        for (name, p) in &mut model.weights.0 {
            if theirs.contains_key(&format!("before/{name}")) {
                *p = before(name);
            }
        }
        let gates = theirs
            .keys()
            .filter_map(|name| name.strip_prefix("before/")?.strip_suffix(".log_alpha"));
        let log_alpha = gates
            .map(|gate| (vector(gate), before(&format!("{gate}.log_alpha"))))
            .collect();
        let map =
            |g: usize| ["weight", "bias"].map(|p| before(&format!("distill_linear_projs.{g}.{p}")));
        Trained {
            model,
            log_alpha,
            maps: [map(0), map(1)],
            lambda: ["lambda1", "lambda2"].map(before),
        }
    }

    fn get(&mut self, name: &str) -> Option<&mut Param> {
        if let Some(gate) = name.strip_suffix(".log_alpha") {
            return self.log_alpha.get_mut(&vector(gate));
        }
        if let Some(map) = name.strip_prefix("distill_linear_projs.") {
            let (group, tensor) = map.split_once('.')?;
            let group: usize = group.parse().ok()?;
            return Some(&mut self.maps[group][(tensor == "bias") as usize]);
        }
        match name {
            "lambda1" => Some(&mut self.lambda[0]),
            "lambda2" => Some(&mut self.lambda[1]),
            name => self.model.weights.0.get_mut(name),
        }
    }

    /// Returns the losses by name, and all gradients.
    fn gradients(
        &self,
        theirs: &Loaded,
        targets: &[Hidden],
        rows: &[&[f32]],
    ) -> (BTreeMap<&'static str, f32>, Gradients) {
        let tape = Tape::default();
        let u = by_vector(theirs, "u/");
        let mut gates = BTreeMap::new();
        for (vector, log_alpha) in &self.log_alpha {
            let u = |i: usize| u[vector][i] as f64;
            let z = gate::sample(log_alpha, gate::draw(&read(log_alpha), u), &tape);
            gates.insert(vector.clone(), z);
        }
        let pass = pass(&self.model, &gates, tape.clone());
        let hiddens = pass.hiddens(rows, &[0, 1, 2], Convention::Torchaudio);
        let mapped: Vec<Hidden<Tape>> = hiddens
            .into_iter()
            .enumerate()
            .map(|(layer, x)| {
                let [weight, bias] = &self.maps[layer.min(1)];
                linear(x, weight, bias, Precision::F32)
            })
            .collect();
        let term = |name: &str| {
            let distances = loss::parity::DISTANCES;
            let (_, distance) = distances.iter().find(|(n, _)| *n == name).expect(name);
            let by_layer = mapped
                .iter()
                .zip(targets)
                .map(|(ours, target)| scaled(distance(ours.clone(), target), 1.0 / 3.0));
            by_layer.reduce(plus).expect("three layers")
        };
        let l1 = term("l1");
        let cosine = term("cosine");
        let numbers = read_all(self.log_alpha.values().chain(&self.lambda));
        let penalty = penalty(
            &self.model.architecture,
            &self.log_alpha,
            &self.lambda,
            &numbers,
            0.2,
            &tape,
        );
        let losses = [
            ("loss_l1", read(&l1)[0]),
            ("loss_cos", read(&cosine)[0]),
            ("loss_reg", read(&penalty.value)[0]),
        ];
        let total = plus(plus(l1, cosine), penalty.value);
        (losses.into(), backward(total, 1.0))
    }
}

#[test]
fn two_updates_of_a_student() {
    let theirs = load("step.safetensors");
    let (shape, audio) = &theirs["audio"];
    let rows: Vec<&[f32]> = audio.chunks_exact(shape[1]).collect();
    let teacher = Model::load(&golden("teacher"), UnknownKeys::REFUSE).expect("teacher");
    let targets = Forward::frozen(&teacher, OPEN, Precision::F32).hiddens(
        &rows,
        &[0, 1, 2],
        Convention::Torchaudio,
    );
    let mut trained = Trained::new(&theirs);
    let mut adam = Adam::default();
    for update in 1..=2u64 {
        let golden = |name: &str| values(&theirs, &format!("{update}/{name}"));
        let (losses, mut gradients) = trained.gradients(&theirs, &targets, &rows);
        for (name, ours) in &losses {
            close(name, &[*ours], golden(name));
        }
        let prefix = format!("{update}/grad/");
        let mut named_gradients: Vec<(&str, Vec<f32>)> = vec![];
        for name in theirs.keys().filter_map(|k| k.strip_prefix(&prefix)) {
            let p = trained
                .get(name)
                .unwrap_or_else(|| panic!("no parameter `{name}`"));
            named_gradients.push((name, gradient(&mut gradients, p)));
        }
        // A key's bias has no gradient but rounding: softmax ignores what all keys share.
        let is_compared = |name: &str| !name.ends_with("k_proj.bias");
        for (name, ours) in named_gradients.iter().filter(|(name, _)| is_compared(name)) {
            let what = format!("{update}: gradient of {name}");
            close(&what, ours, golden(&format!("grad/{name}")));
        }
        let (norm, factor) = clip(named_gradients.iter().map(|(_, g)| g), 0.5);
        close("norm", &[norm as f32], golden("norm"));
        for (name, g) in &named_gradients {
            let (rate, sign) = match *name {
                n if n.starts_with("lambda") => (2e-2, -1.0),
                n if n.ends_with("log_alpha") => (2e-2, 1.0),
                _ => (2e-4, 1.0),
            };
            let p = trained.get(name).expect("a parameter with a gradient");
            adam.step(name, p, g, rate, factor * sign, update);
            if is_compared(name) {
                let what = format!("{update}: {name} after");
                close(&what, &read(p), golden(&format!("after/{name}")));
            }
        }
    }
}
