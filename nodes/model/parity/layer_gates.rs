//! Gates on whole sub-layers, with those on their units: DPHuBERT's numbers, and cuts of random models.
use super::*;
use crate::tool::inspect::inspect;
use compute::tensor::NoneTape;

fn states<T: compute::tensor::Track>(
    model: &Model,
    gates: &BTreeMap<String, Vector<T>>,
    audio: &[f32],
    tape: T,
) -> Vec<Hidden<T>> {
    let pass = Forward {
        model,
        gates,
        drops: DropoutKey(None),
        precision: Precision::F32,
        recompute: false,
        tape,
    };
    pass.hiddens(&[audio], &[0, 1, 2], Convention::Torchaudio)
}

#[test]
fn a_sampled_pass_and_its_gradient() {
    let theirs = load("layer_gates.safetensors");
    let (model, tape) = (
        Model::load(&golden("base"), None).expect("base"),
        Tape::default(),
    );
    let (log_alpha, u) = (
        params(&by_vector(&theirs, "train/log_alpha/")),
        by_vector(&theirs, "train/u/"),
    );
    assert_eq!(log_alpha.len(), vectors(&model.architecture, &FIVE).len());
    let sampled = log_alpha
        .iter()
        .map(|(v, a)| {
            (
                v.clone(),
                gate::sample(a, &read(a), |i| u[v][i] as f64, &tape),
            )
        })
        .collect();
    let mut states = states(&model, &sampled, values(&theirs, "audio"), tape);
    for (layer, state) in states.iter().enumerate() {
        close(
            &format!("state {layer}"),
            &read(&state.values),
            values(&theirs, &format!("train/{layer}")),
        );
    }
    let last = states.pop().expect("three states").values;
    let mut gradients = backward(
        weighted(last, values(&theirs, "train/upstream").to_vec()),
        1.0,
    );
    for (v, theirs) in by_vector(&theirs, "train/grad/") {
        assert!(
            !v.contains("layer") || theirs[0] != 0.0,
            "{v} does not move"
        );
        // That of a layer's gate is one number, a sum over frames and channels that cancel: on a GPU the last bit of the
        // samples moves it by 2e-4.
        let within = if v.contains("layer") && cfg!(feature = "cuda") {
            5e-4
        } else {
            1e-4
        };
        close_to(
            &v,
            &gradient(&mut gradients, &log_alpha[&v]),
            &theirs,
            within,
        );
    }
}

#[test]
fn cutting_whole_layers() {
    let theirs = load("layer_gates.safetensors");
    let (model, audio) = (
        Model::load(&golden("base"), None).expect("base"),
        values(&theirs, "audio"),
    );
    let fixed = by_vector(&theirs, "z/");
    let agree = |ours: Vec<Hidden>, word: &str| {
        for (layer, state) in ours.iter().enumerate() {
            close_to(
                &format!("{word}/{layer}"),
                &read(&state.values),
                values(&theirs, &format!("{word}/{layer}")),
                1e-5,
            );
        }
    };
    agree(states(&model, &params(&fixed), audio, NoneTape), "before");
    for (how, word) in [(Finalize::Exact, "before"), (Finalize::Reference, "after")] {
        let small = shrink(&model, &fixed, how);
        let a = &small.architecture;
        assert!(
            a.heads(0) == 0 && a.heads(1) > 0 && a.ffn(0) > 0 && a.ffn(1) == 0,
            "{a:?}"
        );
        // A layer that is closed adds nothing; one that is open, but empty, its bias.
        assert_eq!(a.encoder_keeps_bias, how == Finalize::Exact);
        agree(states(&small, &BTreeMap::new(), audio, NoneTape), word);
    }
}

/// Every choice of closed sub-layers, with and without gates on units: nothing moves, and a folder of it reads.
#[test]
fn cutting_any_layers() {
    let folder = std::env::temp_dir().join(format!("layers-cut-{}", std::process::id()));
    let audio = load("base_hidden.safetensors");
    let audio = &values(&audio, "4000/audio")[..1200];
    let all = [
        ("base", &FIVE[..]),
        ("base", &FIVE[3..]),
        ("large", &FIVE[1..]),
        ("wavlm", &FIVE[..]),
    ];
    for ((name, units), closed) in all
        .into_iter()
        .flat_map(|case| (0..16).map(move |closed| (case, closed)))
    {
        let model = Model::load(&golden(name), None).expect(name);
        let layer = |v: &str| v.ends_with(".1") as u32 + if v.starts_with("ffn") { 2 } else { 0 };
        let gates = |(v, n): (String, usize)| {
            let z = match v.contains("layer") {
                true => vec![if closed >> layer(&v) & 1 == 1 {
                    0.0
                } else {
                    0.7
                }],
                false => (0..n).map(|i| [0.5, 0.0, 1.0][(i + closed) % 3]).collect(),
            };
            (v, z)
        };
        let gates: BTreeMap<String, Vec<f32>> = vectors(&model.architecture, units)
            .into_iter()
            .map(gates)
            .collect();
        let small = shrink(&model, &gates, Finalize::Exact);
        let gated = states(&model, &params(&gates), audio, NoneTape);
        for (gated, cut) in gated
            .iter()
            .zip(states(&small, &BTreeMap::new(), audio, NoneTape))
        {
            close_to(
                &format!("{name} {closed}"),
                &read(&cut.values),
                &read(&gated.values),
                1e-5,
            );
        }
        assert!(!small.architecture.encoder_keeps_bias);
        if closed % 5 != 0 {
            continue;
        }
        small.save(&folder).expect("a folder");
        let found = inspect(&folder).expect("a model");
        let gone = |n: &[usize]| n.iter().map(|n| *n == 0).collect::<Vec<_>>();
        let bits = |from: usize| [from, from + 1].map(|bit| closed >> bit & 1 == 1);
        assert_eq!(
            (gone(&found.heads), gone(&found.ffn)),
            (bits(0).to_vec(), bits(2).to_vec())
        );
        assert_eq!(
            found.parameters,
            crate::model::count::parameters(&small.architecture)
        );
    }
    std::fs::remove_dir_all(&folder).expect("written above");
}
