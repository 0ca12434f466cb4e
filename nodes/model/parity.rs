//! Our numbers against PyTorch's, transformers' and DPHuBERT's own, on small random weights (tests/golden/README.md).
use crate::data::file;
use crate::data::file::Loaded;
use crate::kind::loss;
use crate::kind::optimize::parity::{Adam, clip};
use crate::model::Architecture;
use crate::model::{Convention, DropoutKey, Forward, Model, OPEN, Unit};
use crate::prune::{Finalize, expected, gate, penalty::penalty, shrink::shrink, vectors};
use compute::gemm::Precision;
use compute::op::{given_number, linear, lstm};
use compute::random::Key;
use compute::tensor::{
    Device, Gradients, Hidden, Number, Param, Spans, Tape, Vector, backward, hidden, len, param,
    plus, put, read, read_all, scaled, split,
};
use compute::tensor::{Shape, Tensor};
use std::collections::BTreeMap;
use std::path::PathBuf;

mod layer_gates;

pub fn golden(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden")).join(name)
}

pub fn load(name: &str) -> Loaded {
    file::load(&golden(name)).expect(name)
}

pub fn values<'a>(of: &'a Loaded, name: &str) -> &'a [f32] {
    &of.get(name)
        .unwrap_or_else(|| panic!("no golden `{name}`"))
        .1
}

/// Within 1e-4 of the largest value.
pub fn close(what: &str, ours: &[f32], theirs: &[f32]) {
    close_to(what, ours, theirs, 1e-4);
}

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

/// `conv.0` for `feature_extractor.conv_layers.0.hard_concrete`, and so on.
fn vector(gate: &str) -> String {
    let number = gate
        .split('.')
        .find(|p| p.parse::<usize>().is_ok())
        .expect("a layer's number");
    let units = [
        ("feature_extractor", "conv"),
        ("for_heads", "head"),
        ("for_intermediate", "ffn"),
        ("attention.hard_concrete_for_layer", "attention-layer"),
        ("feed_forward.hard_concrete_for_layer", "ffn-layer"),
    ];
    let unit = units
        .iter()
        .find(|(part, _)| gate.contains(part))
        .expect("a unit")
        .1;
    format!("{unit}.{number}")
}

/// All tensors under `prefix`, by gate vector.
pub fn by_vector(of: &Loaded, prefix: &str) -> BTreeMap<String, Vec<f32>> {
    let under = of
        .iter()
        .filter_map(|(name, (_, v))| Some((name.strip_prefix(prefix)?, v)));
    under.map(|(gate, v)| (vector(gate), v.clone())).collect()
}

pub fn params(of: &BTreeMap<String, Vec<f32>>) -> BTreeMap<String, Param> {
    of.iter()
        .map(|(name, v)| (name.clone(), param(v.clone())))
        .collect()
}

const ALL: [Unit; 3] = [Unit::Conv, Unit::Head, Unit::Ffn];
pub const FIVE: [Unit; 5] = [
    Unit::Conv,
    Unit::Head,
    Unit::Ffn,
    Unit::AttentionLayer,
    Unit::FfnLayer,
];

fn hidden_states_agree(name: &str) {
    let model = Model::load(&golden(name), None).expect(name);
    let theirs = load(&format!("{name}_hidden.safetensors"));
    let pass = Forward::frozen(&model, OPEN, Precision::F32);
    for n in [400, 4000, 5999] {
        let audio = values(&theirs, &format!("{n}/audio"));
        for (convention, word) in [
            (Convention::Hf, "hf"),
            (Convention::Torchaudio, "torchaudio"),
        ] {
            for (layer, ours) in pass
                .hiddens(&[audio], &[0, 1, 2], convention)
                .iter()
                .enumerate()
            {
                let name = format!("{n}/{word}/{layer}");
                close(&name, &read(&ours.values), values(&theirs, &name));
            }
        }
    }
    // Rows of a batch do not see each other.
    let [a, b] = ["4000/audio", "5999/audio"].map(|n| values(&theirs, n));
    let both = pass.hiddens(&[a, b], &[2], Convention::Hf);
    let expected = [values(&theirs, "4000/hf/2"), values(&theirs, "5999/hf/2")].concat();
    close("two rows", &read(&both[0].values), &expected);
}

/// ‖ours - theirs‖ / ‖theirs‖
fn off(ours: &[f32], theirs: &[f32]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f32>| x.map(|x| (x as f64).powi(2)).sum::<f64>().sqrt();
    norm(&mut ours.iter().zip(theirs).map(|(a, b)| a - b)) / norm(&mut theirs.iter().copied())
}

/// Measured where bf16 is computed: hidden states off by 0.6 to 1.5 %, gradients by 0.5 to 2.0 %.
fn close_in_bf16(what: &str, ours: &[f32], theirs: &[f32]) {
    let range = if Precision::Bf16.here() == Precision::Bf16 {
        1e-3..4e-2
    } else {
        0.0..1e-4
    };
    assert!(
        range.contains(&off(ours, theirs)),
        "{what}: off by {}",
        off(ours, theirs)
    );
}

#[test]
fn hidden_states_in_bf16() {
    let (model, theirs) = (
        Model::load(&golden("base"), None).expect("base"),
        load("base_hidden.safetensors"),
    );
    let pass = Forward::frozen(&model, OPEN, Precision::Bf16);
    for n in [400, 4000, 5999] {
        let audio = values(&theirs, &format!("{n}/audio"));
        for (layer, ours) in pass
            .hiddens(&[audio], &[0, 1, 2], Convention::Hf)
            .iter()
            .enumerate()
        {
            let name = format!("{n}/hf/{layer}");
            close_in_bf16(&name, &read(&ours.values), values(&theirs, &name));
        }
    }
}

/// All gradients of a student of one layer, against those of f32.
#[test]
fn gradients_in_bf16() {
    let (model, theirs) = (
        Model::load(&golden("base"), None).expect("base"),
        load("base_hidden.safetensors"),
    );
    let gradients = |precision: Precision| -> Vec<(&str, Vec<f32>)> {
        let (gates, tape) = (BTreeMap::new(), Tape::default());
        let pass = Forward {
            model: &model,
            gates: &gates,
            drops: DropoutKey(None),
            precision,
            recompute: false,
            tape,
        };
        let state = pass
            .hiddens(&[values(&theirs, "4000/audio")], &[1], Convention::Hf)
            .remove(0);
        let target = hidden(
            vec![0.1; len(&state.values)],
            state.width(),
            state.spans.clone(),
        );
        let mut gradients = backward(compute::op::mse(state, &target), 1.0);
        model
            .weights
            .0
            .iter()
            .map(|(name, p)| (name.as_str(), gradient(&mut gradients, p)))
            .collect()
    };
    let (ours, exact) = (gradients(Precision::Bf16), gradients(Precision::F32));
    let moved = |name: &str, exact: &[f32]| {
        !name.ends_with("k_proj.bias") && exact.iter().any(|g| *g != 0.0)
    };
    for ((name, ours), (_, exact)) in ours
        .iter()
        .zip(&exact)
        .filter(|(_, (name, exact))| moved(name, exact))
    {
        close_in_bf16(name, ours, exact);
    }
}

/// Masked frames are the mask embedding from the positional convolution on.
#[test]
fn hidden_states_of_masked_frames() {
    let (model, theirs) = (
        Model::load(&golden("base"), None).expect("base"),
        load("masked.safetensors"),
    );
    let (drops, precision) = (DropoutKey(None), Precision::F32);
    let audio = [values(&theirs, "audio")];
    let mask: [Vec<bool>; 1] = [values(&theirs, "mask").iter().map(|m| *m > 0.0).collect()];
    let pass = Forward {
        model: &model,
        gates: &BTreeMap::new(),
        drops,
        precision,
        recompute: false,
        tape: Tape::default(),
    };
    let mut hiddens = pass.encode(
        pass.features(&audio),
        Some(&mask),
        &[0, 1, 2],
        Convention::Hf,
    );
    for (layer, ours) in hiddens.iter().enumerate() {
        close(
            &format!("layer {layer}"),
            &read(&ours.values),
            values(&theirs, &layer.to_string()),
        );
    }
    let last = hiddens.remove(2).values;
    let mut gradients = backward(weighted(last, values(&theirs, "upstream").to_vec()), 1.0);
    close(
        "gradient",
        &gradient(
            &mut gradients,
            model.weights.get(crate::model::MASK_EMBEDDING),
        ),
        values(&theirs, "grad"),
    );
    // Where layer 0 is the feature projection's output, it is as without a mask; deeper ones are not.
    let pass = Forward::frozen(&model, OPEN, precision);
    let plain = pass.hiddens(&audio, &[0, 1], Convention::Torchaudio);
    let hidden = pass.encode(
        pass.features(&audio),
        Some(&mask),
        &[0, 1],
        Convention::Torchaudio,
    );
    let same = |layer: usize| read(&plain[layer].values) == read(&hidden[layer].values);
    assert!(same(0) && !same(1));
}

#[test]
fn computing_layers_again_changes_no_bit() {
    let noise = Key::new(1, &["speech"]);
    let rows = [4000, 2500].map(|n| (0..n).map(|i| noise.normal(0, i)).collect::<Vec<f32>>());
    for name in ["base", "large", "wavlm"] {
        let model = Model::load(&golden(name), None).expect(name);
        let gradients = |recompute: bool| -> Vec<Vec<f32>> {
            let (gate, tape) = (
                param(vec![0.7; model.architecture.heads(0)]),
                Tape::default(),
            );
            let gates = [("head.0".to_owned(), put(&gate, &tape))].into();
            let (drops, precision) = (DropoutKey(Some(5)), Precision::F32);
            let pass = Forward {
                model: &model,
                gates: &gates,
                drops,
                precision,
                recompute,
                tape,
            };
            let hiddens = pass.hiddens(&[&rows[0], &rows[1]], &[1, 2], Convention::Hf);
            let square = |h: Hidden<Tape>| {
                let zero = hidden(vec![0.0; len(&h.values)], h.width(), h.spans.clone());
                compute::op::mse(h, &zero)
            };
            let loss = hiddens
                .into_iter()
                .map(square)
                .reduce(plus)
                .expect("layers");
            let mut gradients = backward(loss, 1.0);
            model
                .weights
                .0
                .values()
                .chain([&gate])
                .map(|p| gradient(&mut gradients, p))
                .collect()
        };
        assert!(gradients(true) == gradients(false), "{name}");
    }
}

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

/// Σ upstream · x, so that its gradient by x is `upstream`.
pub fn weighted<S: Shape>(x: Tensor<S, f32, Device, Tape>, upstream: Vec<f32>) -> Number<Tape> {
    let (x, tape) = split(x);
    given_number(
        0.0,
        vec![(x, upstream.into_iter().map(f64::from).collect())],
        tape,
    )
}

/// The numbers of the gradient of `t`, taken out.
pub fn gradient<S: Shape>(gradients: &mut Gradients, t: &Tensor<S, f32, Device>) -> Vec<f32> {
    read(&gradients.of(t)).into()
}

#[test]
fn gates() {
    let theirs = load("gates.safetensors");
    for mean in ["0.0", "4.6"] {
        let of = |name: &str| values(&theirs, &format!("train/{mean}/{name}"));
        let log_alpha = param(of("log_alpha").to_vec());
        let z = gate::sample(
            &log_alpha,
            &read(&log_alpha),
            |i| of("u")[i] as f64,
            &Tape::default(),
        );
        close("z", &read(&z), of("z"));
        let mut gradients = backward(weighted(z, of("upstream").to_vec()), 1.0);
        close(
            "gradient",
            &gradient(&mut gradients, &log_alpha),
            of("grad"),
        );
        let (open, slope) = gate::open(&read(&log_alpha));
        close("expected", &[open as f32], of("l0"));
        close(
            "slope",
            &slope.iter().map(|x| *x as f32).collect::<Vec<_>>(),
            of("l0_grad"),
        );
    }
    let fixed: Vec<&str> = theirs
        .keys()
        .filter_map(|k| k.strip_prefix("eval/")?.strip_suffix("/z"))
        .collect();
    assert!(fixed.len() > 10);
    for case in fixed {
        let of = |name: &str| values(&theirs, &format!("eval/{case}/{name}"));
        close(case, &gate::fixed(of("log_alpha"), 0), of("z"));
    }
}

#[test]
fn penalty_and_its_gradient() {
    penalty_agrees("three", &ALL);
    penalty_agrees("five", &FIVE);
}

fn penalty_agrees(case: &str, units: &[Unit]) {
    let theirs = load("penalty.safetensors");
    let of = |name: &str| values(&theirs, &format!("{case}/{name}"));
    let by_gate = |what: &str| by_vector(&theirs, &format!("{case}/{what}/"));
    let architecture = crate::model::read_architecture(&golden("base")).expect("base");
    let log_alpha = params(&by_gate("log_alpha"));
    assert_eq!(log_alpha.len(), vectors(&architecture, units).len());

    let open = log_alpha
        .iter()
        .map(|(v, a)| (v.clone(), gate::open(&read(a)).0))
        .collect();
    let left = expected::parameters(&architecture, &open);
    close(
        "original",
        &[expected::parameters(&architecture, &BTreeMap::new()).count as f32],
        of("original"),
    );
    close("expected", &[left.count as f32], of("expected"));
    for (v, theirs) in by_gate("size_grad") {
        let ours: Vec<f32> = gate::open(&read(&log_alpha[&v]))
            .1
            .iter()
            .map(|d| (d * left.slope[&v]) as f32)
            .collect();
        close(&v, &ours, &theirs);
    }
    let lambda = [0, 1].map(|i| param(vec![of("lambda")[i]]));
    let numbers = read_all(log_alpha.values().chain(&lambda));
    let loss = penalty(
        &architecture,
        &log_alpha,
        &lambda,
        &numbers,
        of("target")[0] as f64,
        &Tape::default(),
    );
    close("loss", &read(&loss.value), of("loss"));
    let mut gradients = backward(loss.value, 1.0);
    for (v, theirs) in by_gate("loss_grad") {
        close(&v, &gradient(&mut gradients, &log_alpha[&v]), &theirs);
    }
    close(
        "lambda",
        &lambda.each_ref().map(|l| gradient(&mut gradients, l)[0]),
        of("lambda_grad"),
    );
}

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
    let of = |what: &str| {
        lengths
            .map(|n| values(&theirs, &format!("{n}/{what}")))
            .concat()
    };
    let four =
        |d: &str| ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].map(|p| format!("{p}_l0{d}"));
    let names = [four(""), four("_reverse")].concat();
    let p: Vec<Param> = names
        .iter()
        .map(|name| param(values(&theirs, name).to_vec()))
        .collect();
    let x = hidden(of("x"), 5, Spans::new(lengths));
    let [forward, back] = [0, 4].map(|i| [&p[i], &p[i + 1], &p[i + 2], &p[i + 3]]);
    let y = lstm(x.on(&Tape::default()), &[forward, back], Precision::F32);
    close_to("y", &read(&y.values), &of("y"), LSTM);
    let mut gradients = backward(weighted(y.values, of("upstream")), 1.0);
    close_to(
        "dx",
        &gradient(&mut gradients, &x.values),
        &of("grad"),
        LSTM,
    );
    for (name, p) in names.iter().zip(&p) {
        close_to(
            name,
            &gradient(&mut gradients, p),
            values(&theirs, &format!("grad/{name}")),
            LSTM,
        );
    }
}

/// The student of `step.safetensors` with everything that an update moves, by the golden's names.
struct Trained {
    model: Model,
    log_alpha: BTreeMap<String, Param>,
    maps: [[Param; 2]; 2],
    lambda: [Param; 2],
}

impl Trained {
    fn new(theirs: &Loaded) -> Trained {
        let before = |name: &str| param(values(theirs, &format!("before/{name}")).to_vec());
        let mut model = Model::load(&golden("base"), None).expect("base");
        for (name, p) in model
            .weights
            .0
            .iter_mut()
            .filter(|(n, _)| theirs.contains_key(&format!("before/{n}")))
        {
            *p = before(name);
        }
        let alphas = theirs
            .keys()
            .filter_map(|k| k.strip_prefix("before/")?.strip_suffix(".log_alpha"));
        let log_alpha = alphas
            .map(|gate| (vector(gate), before(&format!("{gate}.log_alpha"))))
            .collect();
        let map =
            |g: usize| ["weight", "bias"].map(|p| before(&format!("distill_linear_projs.{g}.{p}")));
        let lambda = ["lambda1", "lambda2"].map(before);
        Trained {
            model,
            log_alpha,
            maps: [map(0), map(1)],
            lambda,
        }
    }

    fn get(&mut self, name: &str) -> Option<&mut Param> {
        if let Some(gate) = name.strip_suffix(".log_alpha") {
            return self.log_alpha.get_mut(&vector(gate));
        }
        if let Some((g, p)) = name
            .strip_prefix("distill_linear_projs.")
            .and_then(|n| n.split_once('.'))
        {
            return Some(
                &mut self.maps[g.parse::<usize>().expect("a number")][(p == "bias") as usize],
            );
        }
        match name {
            "lambda1" => Some(&mut self.lambda[0]),
            "lambda2" => Some(&mut self.lambda[1]),
            name => self.model.weights.0.get_mut(name),
        }
    }

    /// Losses by name, and all gradients.
    fn gradients(
        &self,
        theirs: &Loaded,
        targets: &[Hidden],
        rows: &[&[f32]],
    ) -> (BTreeMap<&'static str, f32>, Gradients) {
        let (tape, u) = (Tape::default(), by_vector(theirs, "u/"));
        let gates = self
            .log_alpha
            .iter()
            .map(|(v, a)| {
                (
                    v.clone(),
                    gate::sample(a, &read(a), |i| u[v][i] as f64, &tape),
                )
            })
            .collect();
        let pass = Forward {
            model: &self.model,
            gates: &gates,
            drops: DropoutKey(None),
            precision: Precision::F32,
            recompute: false,
            tape: tape.clone(),
        };
        let hiddens = pass.hiddens(rows, &[0, 1, 2], Convention::Torchaudio);
        let mapped = |(l, h)| {
            linear(
                h,
                &self.maps[usize::min(l, 1)][0],
                &self.maps[usize::min(l, 1)][1],
                Precision::F32,
            )
        };
        let mapped: Vec<Hidden<Tape>> = hiddens.into_iter().enumerate().map(mapped).collect();
        let term = |name: &str| {
            let distance = loss::parity::DISTANCES
                .iter()
                .find(|(n, _)| *n == name)
                .expect(name)
                .1;
            let each = mapped
                .iter()
                .zip(targets)
                .map(|(o, t)| scaled(distance(o.clone(), t), 1.0 / 3.0));
            each.reduce(plus).expect("layers")
        };
        let (l1, cosine) = (term("l1"), term("cosine"));
        let numbers = read_all(self.log_alpha.values().chain(&self.lambda));
        let regular = penalty(
            &self.model.architecture,
            &self.log_alpha,
            &self.lambda,
            &numbers,
            0.2,
            &tape,
        );
        let numbers = [
            ("loss_l1", read(&l1)[0]),
            ("loss_cos", read(&cosine)[0]),
            ("loss_reg", read(&regular.value)[0]),
        ];
        (
            numbers.into(),
            backward(plus(plus(l1, cosine), regular.value), 1.0),
        )
    }
}

#[test]
fn two_updates_of_a_student() {
    let theirs = load("step.safetensors");
    let (shape, audio) = &theirs["audio"];
    let rows: Vec<&[f32]> = audio.chunks_exact(shape[1]).collect();
    let teacher = Model::load(&golden("teacher"), None).expect("teacher");
    let pass = Forward::frozen(&teacher, OPEN, Precision::F32);
    let targets = pass.hiddens(&rows, &[0, 1, 2], Convention::Torchaudio);
    let mut trained = Trained::new(&theirs);
    let mut adam = Adam::default();
    for update in 1..=2u64 {
        let of = |name: &str| values(&theirs, &format!("{update}/{name}"));
        let (numbers, mut gradients) = trained.gradients(&theirs, &targets, &rows);
        numbers
            .iter()
            .for_each(|(name, ours)| close(name, &[*ours], of(name)));
        let prefix = format!("{update}/grad/");
        let names: Vec<&str> = theirs
            .keys()
            .filter_map(|k| k.strip_prefix(prefix.as_str()))
            .collect();
        let mut all: Vec<(&str, Vec<f32>)> = vec![];
        for name in &names {
            let p = trained
                .get(name)
                .unwrap_or_else(|| panic!("no parameter `{name}`"));
            all.push((name, gradient(&mut gradients, p)));
        }
        for (name, ours) in &all {
            // The gradient of a key's bias is 0 but for rounding: softmax does not see what all keys share.
            if !name.ends_with("k_proj.bias") {
                close(
                    &format!("{update}: gradient of {name}"),
                    ours,
                    of(&format!("grad/{name}")),
                );
            }
        }
        let (norm, factor) = clip(all.iter().map(|(_, g)| g), 0.5);
        close("norm", &[norm as f32], of("norm"));
        for (name, g) in &all {
            let (rate, sign) = match *name {
                n if n.starts_with("lambda") => (2e-2, -1.0),
                n if n.ends_with("log_alpha") => (2e-2, 1.0),
                _ => (2e-4, 1.0),
            };
            let p = trained.get(name).expect("there");
            adam.step(name, p, g, rate, factor * sign, update);
            if !name.ends_with("k_proj.bias") {
                close(
                    &format!("{update}: {name} after"),
                    &read(p),
                    of(&format!("after/{name}")),
                );
            }
        }
    }
}

/// The exact cut moves nothing; the reference's gives the reference's states.
#[test]
fn cutting_a_model() {
    let theirs = load("finalized/states.safetensors");
    let model = Model::load(&golden("base"), None).expect("base");
    let gates: BTreeMap<String, Vec<f32>> = by_vector(&theirs, "log_alpha/")
        .iter()
        .map(|(v, a)| (v.clone(), gate::fixed(a, 0)))
        .collect();
    for (v, z) in by_vector(&theirs, "z/") {
        close(&v, &gates[&v], &z);
    }
    let states = |model: &Model, open: &BTreeMap<String, Vector>| {
        let pass = Forward::frozen(model, open, Precision::F32);
        pass.hiddens(
            &[values(&theirs, "audio")],
            &[0, 1, 2],
            Convention::Torchaudio,
        )
    };
    let none = BTreeMap::new();
    let gated = states(&model, &params(&gates));
    let cases = [(Finalize::Exact, "before"), (Finalize::Reference, "after")];
    for (how, word) in cases {
        let small = shrink(&model, &gates, how);
        for (layer, state) in states(&small, &none).iter().enumerate() {
            close_to(
                &format!("{word}/{layer}"),
                &read(&state.values),
                values(&theirs, &format!("{word}/{layer}")),
                1e-5,
            );
        }
        let stored: usize = small.weights.0.values().map(len).sum();
        assert_eq!(
            stored as u64,
            crate::model::count::parameters(&small.architecture)
        );
        assert!(
            small
                .architecture
                .encoder_num_heads
                .iter()
                .flatten()
                .any(|n| *n == 0),
            "a layer loses its heads"
        );
    }
    gated.iter().enumerate().for_each(|(l, h)| {
        close(
            &format!("gated {l}"),
            &read(&h.values),
            values(&theirs, &format!("before/{l}")),
        )
    });
}

/// A cut model is cut again: what was folded stays folded.
#[test]
fn cutting_twice() {
    let theirs = load("finalized/states.safetensors");
    let model = Model::load(&golden("base"), None).expect("base");
    let gates: BTreeMap<String, Vec<f32>> = by_vector(&theirs, "z/");
    let once = shrink(&model, &gates, Finalize::Exact);
    let half = |(v, n): (String, usize)| {
        (
            v,
            (0..n)
                .map(|i| if i % 2 == 0 { 0.75 } else { 0.0 })
                .collect::<Vec<f32>>(),
        )
    };
    let more: BTreeMap<String, Vec<f32>> = vectors(&once.architecture, &ALL)
        .into_iter()
        .map(half)
        .collect();
    let twice = shrink(&once, &more, Finalize::Exact);
    let states = |model: &Model, gates: &BTreeMap<String, Vector>| {
        let pass = Forward::frozen(model, gates, Precision::F32);
        pass.hiddens(&[values(&theirs, "audio")], &[0, 1, 2], Convention::Hf)
    };
    let open: Architecture = twice.architecture.clone();
    assert!(
        crate::model::count::parameters(&open)
            < crate::model::count::parameters(&once.architecture)
    );
    for (a, b) in states(&once, &params(&more))
        .iter()
        .zip(states(&twice, &BTreeMap::new()))
    {
        close_to("twice", &read(&b.values), &read(&a.values), 1e-5);
    }
}

/// The first layer loses its attention, the table of biases stays for the second; a folder in between changes nothing.
#[test]
fn cutting_a_wavlm_model() {
    let model = Model::load(&golden("wavlm"), None).expect("wavlm");
    let audio = load("wavlm_hidden.safetensors");
    let states = |model: &Model, gates: &BTreeMap<String, Vector>| {
        let pass = Forward::frozen(model, gates, Precision::F32);
        pass.hiddens(&[values(&audio, "5999/audio")], &[0, 1, 2], Convention::Hf)
    };
    let folder = std::env::temp_dir().join(format!("wavlm-cut-{}", std::process::id()));
    let cut = |from: &Model, heads: [&[f32]; 2], remaining: [Vec<usize>; 2]| {
        let gates = BTreeMap::from([0, 1].map(|l| (format!("head.{l}"), heads[l].to_vec())));
        let small = shrink(from, &gates, Finalize::Exact);
        assert_eq!(
            small.architecture.encoder_remaining_heads,
            Some(remaining.into())
        );
        let stored: usize = small.weights.0.values().map(len).sum();
        assert_eq!(
            stored as u64,
            crate::model::count::parameters(&small.architecture)
        );
        small.save(&folder).expect("a folder");
        let small = Model::load(&folder, None).expect("what was written");
        assert_eq!(small.architecture.model_type, "pruned_wavlm");
        for (gated, cut) in states(from, &params(&gates))
            .iter()
            .zip(states(&small, &BTreeMap::new()))
        {
            close_to("cut", &read(&cut.values), &read(&gated.values), 1e-5);
        }
        small
    };
    let (some, none) = ([0.5, 0.0, 0.0, 1.0], [0.0; 4]);
    let once = cut(&model, [&none, &some], [vec![], vec![0, 3]]);
    let twice = cut(&once, [&[], &[0.0, 0.75]], [vec![], vec![3]]);
    std::fs::remove_dir_all(&folder).expect("written above");
    let open = |model: &Model| vectors(&model.architecture, &[Unit::Head]);
    assert_eq!(open(&twice), BTreeMap::from([("head.1".to_owned(), 1)]));
}
