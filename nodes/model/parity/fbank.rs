//! The front end over log-mel frames (tests/golden/front_end.py).
use super::{close, gradient, load, load_model, values};
use crate::model::{
    Architecture, Convention, Forward, FrontEnd, Model, OPEN, Outputs, UnknownKeys, count,
};
use compute::gemm::Precision;
use compute::op::mean_square;
use compute::random::Key;
use compute::tensor::{Hidden, Tape, Track, backward, read};
use std::collections::BTreeMap;

/// Returns layers 0 and 1 for rows of log-mel frames that are not yet normalised.
fn hiddens<T: Track>(pass: &Forward<T>, rows: &[&[f32]]) -> Vec<Hidden<T>> {
    let rows = rows.iter();
    let normalized = rows.map(|row| pass.model.normalized_log_mel(row.to_vec()));
    let outputs = Outputs {
        layers: &[0, 1],
        maps: &[],
        encoder_output: false,
        convention: Convention::Torchaudio,
    };
    let features = pass.fbank_features(normalized.collect());
    pass.encode(features, None, outputs).hiddens
}

#[test]
fn convolution_gate_and_map_are_pytorchs() {
    let model = load_model("fbank_front");
    assert!(model.cmvn.is_some());
    let theirs = load("fbank_front.safetensors");
    let rows = ["a", "b"].map(|row| values(&theirs, &format!("features/{row}")));
    let pass = Forward::frozen(&model, OPEN, Precision::F32);
    let batch = hiddens(&pass, &rows);
    for (layer, both) in batch.iter().enumerate() {
        let expected = ["a", "b"].map(|row| values(&theirs, &format!("hidden/{row}/{layer}")));
        for (features, expected) in rows.iter().zip(&expected) {
            let alone = hiddens(&pass, &[features]).remove(layer);
            close(&format!("layer {layer}"), &read(&alone.values), expected);
        }
        let what = format!("batch, layer {layer}");
        close(&what, &read(&both.values), &expected.concat());
    }

    let gates = BTreeMap::new();
    let pass = super::pass(&model, &gates, Tape::default());
    let last = hiddens(&pass, &rows).remove(1);
    let mut gradients = backward(mean_square(last), 1.0);
    for (tensor, weight) in &model.weights.0 {
        let theirs = values(&theirs, &format!("grad/{tensor}"));
        close(tensor, &gradient(&mut gradients, weight), theirs);
    }
}

/// Deep and thin: 12 layers of 480 behind HuBERT's convolutions, or behind log-mel frames.
fn thin(front_end: FrontEnd) -> Architecture {
    Architecture {
        hidden_size: 480,
        intermediate_size: 480,
        feat_proj_layer_norm: false,
        mask_time_prob: 0.0,
        front_end,
        ..Architecture::default()
    }
}

#[test]
fn log_mel_frames_save_parameters_and_keep_the_frames() {
    let waveform = thin(FrontEnd::Waveform);
    let fbank = thin(FrontEnd::Fbank);
    assert_eq!(count::parameters(&waveform), 22_937_856);
    let front_end = 960 * 80 * 5 + 960 + 480 * 480 + 480;
    let of_waveform = 4_200_448 + 480 * 512 + 480;
    assert_eq!(
        count::parameters(&fbank),
        22_937_856 - of_waveform + front_end
    );
    // The paper says 17 %.
    let saved = 1.0 - count::parameters(&fbank) as f64 / count::parameters(&waveform) as f64;
    assert!((0.165..0.175).contains(&saved), "{saved}");
    let frames: usize = count::SUPERB
        .map(|samples| waveform.frames(samples))
        .iter()
        .sum();
    let per_frame = 960 * 80 * 5 + 480 * 480;
    let layers = Architecture {
        conv_dim: vec![1],
        conv_kernel: vec![400],
        conv_stride: vec![320],
        ..waveform
    };
    assert_eq!(
        count::macs(&fbank) - count::macs(&layers),
        (frames * (per_frame - 400 - 480)) as u64
    );

    let masked = Architecture {
        mask_time_prob: 0.5,
        ..fbank.clone()
    };
    assert_eq!(masked.mask_problem(), None);
    let config = fbank.to_config();
    assert_eq!(config["model_type"], "compact_hubert");
    assert_eq!(config["fbank_conv_kernel"], serde_json::json!([5]));
}

#[test]
fn a_model_of_log_mel_frames_reads_waveforms_too_and_keeps_its_statistics() {
    let model = load_model("fbank_front");
    let noise = Key::new(2, &["speech"]);
    let audio: Vec<f32> = (0..3000).map(|i| 0.1 * noise.normal(0, i)).collect();
    let short = &audio[..500];
    let rows = [&audio[..], short, &audio[..300]];
    let pass = Forward::frozen(&model, OPEN, Precision::F32);
    let from_audio = pass.hiddens(&rows, &[1], Convention::Hf).remove(0);
    let lengths: Vec<usize> = from_audio.spans.lengths().collect();
    assert_eq!(
        lengths,
        rows.map(|row| model.architecture.frames(row.len()))
    );
    let mel = crate::data::mel::Mel::new(10);
    let frames = rows.map(|row| mel.features(row));
    let frames: Vec<&[f32]> = frames.iter().map(Vec::as_slice).collect();
    let from_frames = hiddens(&pass, &frames).remove(1);
    assert_eq!(read(&from_audio.values), read(&from_frames.values));

    let folder = std::env::temp_dir().join(format!("fbank-{}", std::process::id()));
    model.save(&folder).expect("written");
    let again = Model::load(&folder, UnknownKeys::REFUSE);
    std::fs::remove_dir_all(&folder).expect("removed");
    let again = again.expect("what was written");
    assert_eq!(again.cmvn, model.cmvn);
    assert!(!again.normalize);
    let silent = Model {
        cmvn: None,
        ..again
    };
    let pass = Forward::frozen(&silent, OPEN, Precision::F32);
    let without = pass.hiddens(&rows, &[1], Convention::Hf).remove(0);
    assert_ne!(read(&without.values), read(&from_audio.values));
}

/// What a waveform model and one of log-mel frames have in common begins at the positional
/// convolution.
#[test]
fn a_student_of_another_front_end_takes_the_encoder() {
    let small = |front_end| Architecture {
        conv_dim: vec![4; 7],
        hidden_size: 24,
        num_hidden_layers: 2,
        intermediate_size: 8,
        num_conv_pos_embeddings: 4,
        num_conv_pos_embedding_groups: 2,
        ..thin(front_end)
    };
    let source = Model::random(&small(FrontEnd::Waveform), Key::new(1, &["waveform"]));
    let fbank = small(FrontEnd::Fbank);
    let transfer = fbank.transfer_from(&source.architecture, None);
    let drawn = [
        "feature_extractor.fbank_conv_layers.0.conv.weight",
        "feature_extractor.fbank_conv_layers.0.conv.bias",
        "feature_projection.fbank_projection.weight",
        "feature_projection.fbank_projection.bias",
    ];
    assert_eq!(transfer.drawn, drawn);
    let student = source.transferred(&fbank, &transfer, Key::new(2, &["fbank"]));
    let name = "encoder.layers.1.attention.q_proj.weight";
    assert_eq!(
        read(student.weights.get(name)),
        read(source.weights.get(name))
    );
    assert!(student.cmvn.is_none());
}
