//! Checkpoints of other programs (tests/golden/formats): the models of this folder in their forms,
//! and small models whose hidden states PyTorch computed.
use super::{close, golden, load, load_model, values};
use crate::data::read_files::ReadFiles;
use crate::model::{
    Classes, Convention, Forward, LabelHead, LoadedModel, Model, OPEN, UnknownKeys,
};
use compute::gemm::Precision;
use compute::tensor::{hidden, read};

const LENGTHS: [usize; 3] = [400, 4000, 5999];

pub(super) fn open(name: &str) -> LoadedModel {
    let path = golden("formats").join(name);
    LoadedModel::load(&path, UnknownKeys::REFUSE).unwrap_or_else(|error| panic!("{error}"))
}

/// Returns the states of layers 0 to the last of one row.
fn all_states(model: &Model, audio: &[f32], convention: Convention) -> Vec<Vec<f32>> {
    let layers: Vec<usize> = (0..=model.architecture.num_hidden_layers).collect();
    let pass = Forward::frozen(model, OPEN, Precision::F32);
    let states = pass.hiddens(&[audio], &layers, convention);
    states
        .iter()
        .map(|state| read(&state.values).into())
        .collect()
}

/// Asserts that a checkpoint is a model of this folder in another form.
fn is_the_model(name: &str, format: &str, folder: &str) {
    let loaded = open(name);
    assert_eq!(loaded.format, format, "{name}");
    let model = load_model(folder);
    let ours = &loaded.model;
    assert_eq!(
        ours.architecture.tensors(),
        model.architecture.tensors(),
        "{name}"
    );
    for (tensor, weights) in &model.weights.0 {
        assert_eq!(
            read(ours.weights.get(tensor)),
            read(weights),
            "{name}: {tensor}"
        );
    }
    assert_eq!(ours.normalize, model.normalize, "{name}");
    let audio = load("base_hidden.safetensors");
    let audio = values(&audio, "5999/audio");
    let [ours, theirs] = [ours, &model].map(|model| all_states(model, audio, Convention::Hf));
    for (layer, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        // The programs add different epsilons to the variance of a waveform.
        close(&format!("{name}, layer {layer}"), ours, theirs);
    }
}

#[test]
fn models_in_other_forms() {
    for (name, format, folder) in [
        ("bin", "huggingface", "base"),
        ("shards", "huggingface", "base"),
        ("fairseq_hubert.pt", "fairseq", "base"),
        ("fairseq_args.pt", "fairseq", "large"),
        ("s3prl_hubert.pt", "s3prl", "base"),
        ("unilm_wavlm.pt", "unilm", "wavlm"),
    ] {
        is_the_model(name, format, folder);
    }
}

/// The epsilons differ by less than the tolerance of hidden states, unless speech is very quiet.
#[test]
fn the_epsilon_is_that_of_the_format() {
    for name in ["bin", "shards", "data2vec", "whisper"] {
        assert_eq!(open(name).model.normalize_epsilon, 1e-7, "{name}");
    }
    for name in [
        "fairseq_hubert.pt",
        "fairseq_args.pt",
        "fairseq_ctc.pt",
        "data2vec.pt",
        "s3prl_hubert.pt",
        "unilm_wavlm.pt",
        "lighthubert_base.pt",
        "torchaudio_large.pth",
        "torchaudio_wavlm.pth",
        "dphubert.pth",
        "diarizen",
        "arm.ckpt",
        "distiller.ckpt",
    ] {
        assert_eq!(open(name).model.normalize_epsilon, 1e-5, "{name}");
    }
}

#[test]
fn halves_of_a_fine_tuned_model() {
    let loaded = open("fairseq_ctc.pt");
    let large = load_model("large");
    assert!(loaded.model.normalize);
    assert_eq!(loaded.model.architecture.model_type, "wav2vec2");
    for (name, weights) in &large.weights.0 {
        let ours = read(loaded.model.weights.get(name));
        for (ours, theirs) in ours.iter().zip(read(weights).iter()) {
            assert!(
                (ours - theirs).abs() <= 1e-3 * theirs.abs().max(1e-3),
                "{name}"
            );
        }
    }
}

/// The map is normalised twice in what ARMHuBERT released.
#[test]
fn students_of_lightning() {
    let arm = open("arm.ckpt");
    let folder = load_model("arm");
    assert!(arm.model.architecture.reuse_as_released);
    assert_eq!(
        arm.model.architecture.encoder_reuse_attention,
        folder.architecture.encoder_reuse_attention
    );
    for (name, weights) in &folder.weights.0 {
        assert_eq!(read(arm.model.weights.get(name)), read(weights), "{name}");
    }
    // Its recipe is beside it.
    is_the_model("star.ckpt", "lightning", "star");
}

fn states_agree(name: &str, convention: Convention, first: usize) {
    let key = name.split_once('.').map_or(name, |(key, _)| key);
    model_agrees(&open(name).model, key, convention, first);
}

fn model_agrees(model: &Model, key: &str, convention: Convention, first: usize) {
    let theirs = load("formats/states.safetensors");
    let audio = load("base_hidden.safetensors");
    for n in LENGTHS {
        let audio = values(&audio, &format!("{n}/audio"));
        let states = all_states(model, audio, convention);
        for (layer, ours) in states[first..].iter().enumerate() {
            let name = format!("{key}/{n}/{layer}");
            close(&name, ours, values(&theirs, &name));
        }
    }
}

#[test]
fn hidden_states_of_other_programs() {
    states_agree("distiller.ckpt", Convention::Hf, 0);
    states_agree("distiller_fbank.ckpt", Convention::Hf, 0);
    // torchaudio returns the layers alone.
    states_agree("torchaudio_large.pth", Convention::Torchaudio, 1);
    states_agree("torchaudio_wavlm.pth", Convention::Torchaudio, 1);
}

#[test]
fn data2vec() {
    states_agree("data2vec", Convention::Hf, 0);
    let folder = open("data2vec").model;
    let fairseq = open("data2vec.pt").model;
    assert_eq!(fairseq.architecture.model_type, "data2vec-audio");
    assert_eq!(
        fairseq.architecture.tensors(),
        folder.architecture.tensors()
    );
    for (name, weights) in &folder.weights.0 {
        assert_eq!(read(fairseq.weights.get(name)), read(weights), "{name}");
    }
}

/// A row's own frames of 30 s, and of an encoder that reads these frames alone.
#[test]
fn whisper() {
    states_agree("whisper", Convention::Hf, 0);
    let mut model = open("whisper").model;
    model.architecture.pad_to_30_seconds = false;
    model_agrees(&model, "whisper_own", Convention::Hf, 0);
    assert!(model.architecture.length_problem(480_001).is_some());
    assert_eq!(model.architecture.length_problem(480_000), None);
}

/// A file with its arguments, and a folder with the arguments as config.json.
#[test]
fn a_model_that_dphubert_pruned() {
    let theirs = load("finalized/states.safetensors");
    let audio = values(&theirs, "audio");
    for name in ["dphubert.pth", "../finalized"] {
        let loaded = open(name);
        assert_eq!(loaded.format, "torchaudio");
        assert_eq!(loaded.model.architecture.model_type, "pruned_hubert");
        let states = all_states(&loaded.model, audio, Convention::Torchaudio);
        for (layer, ours) in states.iter().enumerate() {
            let theirs = values(&theirs, &format!("after/{layer}"));
            close(&format!("{name}, layer {layer}"), ours, theirs);
        }
    }
}

/// A WavLM of DiariZen: the first of its states is the input of layer 1, the last has no final norm.
#[test]
fn a_wavlm_that_diarizen_pruned() {
    let theirs = load("diarizen.safetensors");
    let audio = load("base_hidden.safetensors");
    let model = open("diarizen").model;
    for n in ["400", "5999"] {
        let audio = values(&audio, &format!("{n}/audio"));
        let mut states = all_states(&model, audio, Convention::Torchaudio);
        states[0] = all_states(&model, audio, Convention::Hf).swap_remove(0);
        for (layer, ours) in states.iter().enumerate() {
            let key = format!("{n}/{layer}");
            close(&key, ours, values(&theirs, &key));
        }
    }
}

/// The subnets that LightHuBERT's code takes, cut out of wider tensors.
#[test]
fn subnets_of_lighthubert() {
    let theirs = load("lighthubert.safetensors");
    let audio = load("base_hidden.safetensors");
    for (name, width) in [("base", 10), ("small", 6), ("stage1", 12)] {
        let loaded = open(&format!("lighthubert_{name}.pt"));
        assert_eq!(loaded.format, "lighthubert");
        assert_eq!(loaded.model.architecture.hidden_size, width);
        assert!(loaded.model.architecture.is_transformers_own());
        for n in ["400", "5999"] {
            let audio = values(&audio, &format!("{n}/audio"));
            let states = all_states(&loaded.model, audio, Convention::Torchaudio);
            for layer in [0, 1, 12] {
                let key = format!("{name}/{n}/{layer}");
                close(&key, &states[layer], values(&theirs, &key));
            }
        }
    }
}

/// Clusters have the columns of their numbers, whatever the order of the dictionary.
#[test]
fn logits_of_a_checkpoint() {
    let theirs = load("formats/states.safetensors");
    let states = load("base_hidden.safetensors");
    for name in ["fairseq_hubert.pt", "s3prl_hubert.pt"] {
        let path = golden("formats").join(name);
        let architecture = load_model("base").architecture;
        let mut read_files = ReadFiles::default();
        let head = LabelHead::load(&path, &architecture, Classes::Clusters, &mut read_files);
        let head = head.expect(name);
        let last = values(&states, "4000/hf/2").to_vec();
        let frames = last.len() / 24;
        let x = hidden(last, 24, compute::tensor::Spans::new([frames]));
        let logits = head.logits(x, 0.1);
        close(name, &read(&logits.values), values(&theirs, "logits"));
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    let error = |name: &str| {
        let path = golden("formats").join(name);
        let loaded = LoadedModel::load(&path, UnknownKeys::REFUSE);
        loaded
            .err()
            .unwrap_or_else(|| panic!("{name} is read"))
            .to_string()
    };
    for (name, words) in [
        ("gates.pth", "still has the gates that DPHuBERT trains"),
        ("gates.ckpt", "still has the gates that DPHuBERT trains"),
        ("values.pt", "it holds `tensors`, `config`, `opaque`"),
        (
            "global_cmvn.npy",
            "neither a folder with config.json nor a file of torch.save",
        ),
    ] {
        assert!(error(name).contains(words), "{}", error(name));
    }
    let model = golden("base").join("model.safetensors");
    let loaded = LoadedModel::load(&model, UnknownKeys::REFUSE);
    let error = loaded.err().expect("a file of tensors").to_string();
    assert!(
        error.contains("holds tensors alone; name its folder"),
        "{error}"
    );
}
