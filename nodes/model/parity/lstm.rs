//! Students with PyTorch's LSTM (tests/golden/lstm_student.py).
use super::{close, gradient, load, load_model, values};
use crate::model::{
    Architecture, Convention, DropoutKey, EncoderType, Forward, Model, OPEN, count,
};
use crate::model::{Component, ExtractNorm, FrontEnd};
use compute::gemm::Precision;
use compute::op::mean_square;
use compute::random::Key;
use compute::tensor::{Hidden, Tape, backward, read};
use std::collections::BTreeMap;

/// Returns hidden states that gradients can follow.
fn tracked(
    model: &Model,
    rows: &[&[f32]],
    layers: &[usize],
    dropout: Option<u32>,
) -> Vec<Hidden<Tape>> {
    let gates = BTreeMap::new();
    let pass = Forward {
        model,
        gates: &gates,
        drops: DropoutKey(dropout),
        precision: Precision::F32,
        recompute: false,
        average_gradients: false,
        frozen_parts: 0,
        tape: Tape::default(),
    };
    pass.hiddens(rows, layers, Convention::Hf)
}

#[test]
fn hidden_states_and_gradients_are_pytorchs() {
    for name in ["lstm_both", "lstm_forward"] {
        let model = load_model(name);
        let theirs = load(&format!("{name}.safetensors"));
        let rows = ["a", "b"].map(|row| values(&theirs, &format!("audio/{row}")));
        let last = model.architecture.num_hidden_layers;
        let layers: Vec<usize> = (0..=last).collect();
        let expected = |row: &str, layer: usize| values(&theirs, &format!("hidden/{row}/{layer}"));
        let pass = Forward::frozen(&model, OPEN, Precision::F32);
        let batch = pass.hiddens(&rows, &layers, Convention::Hf);
        for (r, row) in ["a", "b"].into_iter().enumerate() {
            let alone = pass.hiddens(&[rows[r]], &layers, Convention::Torchaudio);
            for (layer, hidden) in alone.iter().enumerate() {
                let what = format!("{name}, row {row}, layer {layer}");
                close(&what, &read(&hidden.values), expected(row, layer));
                assert_eq!(hidden.width(), model.architecture.layer_width(layer));
            }
        }
        for (layer, hidden) in batch.iter().enumerate() {
            let both = [expected("a", layer), expected("b", layer)].concat();
            close(
                &format!("{name}, batch, layer {layer}"),
                &read(&hidden.values),
                &both,
            );
        }

        let hidden = tracked(&model, &rows, &[last], None).remove(0);
        let mut gradients = backward(mean_square(hidden), 1.0);
        for (tensor, weight) in &model.weights.0 {
            let theirs = values(&theirs, &format!("grad/{tensor}"));
            close(tensor, &gradient(&mut gradients, weight), theirs);
        }
    }
}

#[test]
fn dropout_is_between_layers() {
    let mut model = load_model("lstm_both");
    let audio: Vec<f32> = (0..4000).map(|i| (i as f32 * 0.3).sin()).collect();
    let hiddens = |model: &Model, dropout: Option<u32>| -> Vec<Vec<f32>> {
        let hiddens = tracked(model, &[&audio], &[0, 1, 2, 3], dropout);
        hiddens.iter().map(|x| read(&x.values).to_vec()).collect()
    };
    let without = hiddens(&model, None);
    let dropped = hiddens(&model, Some(7));
    assert_eq!(dropped[..2], without[..2]);
    assert_ne!(dropped[2], without[2]);
    assert_ne!(dropped[3], without[3]);
    assert!(dropped[1].iter().all(|x| *x != 0.0));
    model.architecture.hidden_dropout = 0.0;
    assert_eq!(hiddens(&model, Some(7)), without);
}

/// Checks that frames 0 to 4 of a model depend on these first samples alone, and frame 5 on more.
fn assert_sees_nothing_behind(model: &Model, samples: usize) {
    let noise = Key::new(1, &["speech"]);
    let audio: Vec<f32> = (0..8000).map(|i| noise.normal(0, i)).collect();
    let mut changed = audio.clone();
    changed[samples..].iter_mut().for_each(|x| *x = 1.0 - *x);
    let pass = Forward::frozen(model, OPEN, Precision::F32);
    for layer in 0..=model.architecture.num_hidden_layers {
        let before = pass.hiddens(&[&audio], &[layer], Convention::Hf).remove(0);
        let after = pass
            .hiddens(&[&changed], &[layer], Convention::Hf)
            .remove(0);
        let same = 5 * before.width();
        assert_eq!(read(&before.values)[..same], read(&after.values)[..same]);
        assert_ne!(
            read(&before.values)[same..same + before.width()],
            read(&after.values)[same..same + before.width()]
        );
    }
}

/// Layer norms and one direction: a frame sees the samples of its window and those before it.
#[test]
fn later_samples_change_no_earlier_frame() {
    let model = load_model("lstm_forward");
    assert_eq!(
        model.architecture.feat_extract_norm,
        ExtractNorm::Layer,
        "a group norm sees the whole row"
    );
    assert!(!model.normalize);
    assert_sees_nothing_behind(&model, 4 * 320 + 400);
}

/// The convolution over log-mel frames, of kernel 5, reads two frames of 10 ms more.
#[test]
fn a_log_mel_front_end_waits_20_ms() {
    let architecture = Architecture {
        encoder: EncoderType::Lstm,
        lstm_bidirectional: false,
        lstm_hidden_size: Some(16),
        num_hidden_layers: 2,
        hidden_size: 16,
        front_end: FrontEnd::Fbank,
        mask_time_prob: 0.0,
        ..Architecture::default()
    };
    let mut model = Model::random(&architecture, Key::new(3, &["log-mel"]));
    model.normalize = false;
    assert_sees_nothing_behind(&model, 4 * 320 + 400 + 320);
}

/// de Oliveira and Gerkmann's student: four layers of 384 units in both directions behind HuBERT's
/// convolutions.
fn published() -> Architecture {
    Architecture {
        encoder: EncoderType::Lstm,
        lstm_hidden_size: Some(384),
        num_hidden_layers: 4,
        feature_projection: false,
        ..Architecture::default()
    }
}

#[test]
fn the_published_student_has_these_parts() {
    let a = published();
    let parts = |of: &dyn Fn(&str) -> bool| -> u64 {
        let tensors = a.stored_tensors().into_iter();
        tensors
            .filter(|tensor| of(&tensor.name))
            .map(|tensor| tensor.parameters())
            .sum()
    };
    assert_eq!(
        parts(&|name| name.starts_with("feature_extractor.")),
        4_200_448
    );
    assert_eq!(parts(&|name| name.starts_with("feature_projection.")), 1024);
    assert_eq!(parts(&|name| name.starts_with("encoder.lstm.")), 13_393_920);
    assert_eq!(count::parameters(&a), 17_595_392);
    assert_eq!(a.layer_width(0), 512);
    assert_eq!(a.layer_width(4), 768);
    // Of a frame: 4 H (in + H) in both directions.
    let lstm = |c: &Component| c.kind.layer().is_some();
    let components = a.components().into_iter().filter(lstm);
    let per_frame: usize = components.map(|c| c.macs.per_frame).sum();
    assert_eq!(per_frame, 8 * 384 * (896 + 3 * (768 + 384)));
    // In one direction layers have half the units, and those after the first half the input.
    let forward = Architecture {
        lstm_bidirectional: false,
        ..a
    };
    assert_eq!(
        count::parameters(&forward),
        4_201_472 + 4 * 384 * (512 + 384 + 2) + 3 * 4 * 384 * (384 + 384 + 2)
    );
}

#[test]
fn a_folder_keeps_the_lstm_and_hubert_fills_its_convolutions() {
    let hubert = Architecture::named("hubert-base").expect("known");
    let transfer = published().transfer_from(&hubert, None);
    assert_eq!(transfer.taken.len(), 7 + 2 + 2);
    assert_eq!(transfer.drawn.len(), 4 * 2 * 4);
    let sentence = transfer.describe("teacher");
    assert!(
        sentence.contains("draws encoder.lstm.weight_ih_l0, "),
        "{sentence}"
    );

    let small = Architecture {
        conv_dim: vec![4; 7],
        lstm_hidden_size: Some(3),
        num_hidden_layers: 2,
        ..published()
    };
    let model = Model::random(&small, Key::new(3, &["lstm"]));
    let bound = 1.0 / 3f32.sqrt();
    for name in [
        "encoder.lstm.weight_hh_l1_reverse",
        "encoder.lstm.bias_ih_l0",
    ] {
        let drawn = read(model.weights.get(name));
        let largest = drawn.iter().fold(0f32, |m, x| m.max(x.abs()));
        assert!(
            largest > 0.5 * bound && largest <= bound,
            "{name}: {largest}"
        );
    }
    let folder = std::env::temp_dir().join(format!("lstm-{}", std::process::id()));
    model.save(&folder).expect("written");
    let read_again = Model::load(&folder, crate::model::UnknownKeys::REFUSE);
    std::fs::remove_dir_all(&folder).expect("removed");
    let read_again = read_again.expect("what was written");
    assert_eq!(read_again.architecture.tensors(), small.tensors());
    assert_eq!(small.to_config()["model_type"], "compact_hubert");
    let name = "encoder.lstm.weight_ih_l1";
    assert_eq!(
        read(read_again.weights.get(name)),
        read(model.weights.get(name))
    );
}
