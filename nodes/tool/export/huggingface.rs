//! Folders that transformers loads.
//!
//! HubertModel, WavLMModel and Wav2Vec2Model load the plain folder. Models that none of them can
//! express get a class of their own, `modeling.py`, which `AutoModel` loads with
//! `trust_remote_code=True`.
use super::compare::{self, describe_difference, greatest_difference};
use super::{beyond_standard_layers, dense};
use crate::Result;
use crate::data::file::{self, GrowingFolder, Tensor};
use crate::model::{CMVN_FILE, Model, UnknownKeys};
use compute::tensor::read;
use serde_json::json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// The encoder in plain PyTorch.
pub(super) const ENCODER: &str = include_str!("python/encoder.py");
const CLASSES: &str = include_str!("python/huggingface.py");

/// The name of the weights, in every format of folders.
pub(super) const WEIGHTS: &str = "model.safetensors";

/// Writes a model that a class of transformers computes.
pub(super) fn write(model: &Model, out: &Path) -> Result<String> {
    let a = &model.architecture;
    if !a.is_transformers_own() {
        let why = beyond_standard_layers(a).unwrap_or(if a.is_pruned() {
            "units or channels were cut out of it"
        } else {
            "it has no feature projection, or no norm in it"
        });
        let remedy = if why_not_dense(model).is_some() {
            "--format hf-code"
        } else {
            "--format hf-dense, or hf-code for the small shapes"
        };
        return Err(
            format!("no class of transformers computes this model: {why}; use {remedy}").into(),
        );
    }
    model.save(out)?;
    describe_difference(model, &Model::load(out, UnknownKeys::REFUSE)?)
}

/// The greatest difference of hidden states that is not worth a word.
const MOST_DENSE: f32 = 1e-4;

/// Writes a pruned model in shapes that a class of transformers computes.
pub(super) fn write_dense(model: &Model, out: &Path, mut say: impl FnMut(&str)) -> Result<String> {
    if let Some(why) = why_not_dense(model) {
        let message = format!("zeros cannot make this model one of transformers': {why}");
        return Err(format!("{message}; use --format hf-code").into());
    }
    let dense = dense::dense(model)?;
    dense.save(out)?;
    let greatest = greatest_difference(model, &Model::load(out, UnknownKeys::REFUSE)?)?;
    if greatest > MOST_DENSE {
        say(&format!(
            "hidden states of noise differ by {greatest:.1e}: the features behind this model's last \
             convolution are so small that the gates' additions lose bits of them in f32; \
             --format hf-code keeps them"
        ));
    }
    Ok(compare::sentence(model, greatest))
}

fn why_not_dense(model: &Model) -> Option<&'static str> {
    let a = &model.architecture;
    let has_norm = a.feat_proj_layer_norm || a.family() == "hubert";
    let without_norm = "its feature projection has no norm, which only HubertConfig can say";
    beyond_standard_layers(a).or((!has_norm).then_some(without_norm))
}

/// Writes a model with a class of its own.
pub(super) fn write_code(model: &Model, out: &Path) -> Result<String> {
    let mut config = model.architecture.to_config();
    config["architectures"] = json!(["CompactSpeechModel"]);
    config["auto_map"] = json!({
        "AutoConfig": "modeling.CompactSpeechConfig",
        "AutoModel": "modeling.CompactSpeechModel",
    });
    let model_type = config["model_type"].as_str().unwrap_or_default();
    let classes = CLASSES.replace("MODEL_TYPE", model_type);
    let config = format!("{config:#}\n");
    let mut folder = GrowingFolder::create(out, "config.json", config.as_bytes())?;
    let code = format!("{ENCODER}{classes}");
    folder.write("modeling.py", |file| file.write_all(code.as_bytes()))?;
    write_weights(&mut folder, "", model)?;
    folder.finish()?;
    describe_difference(model, &Model::load(out, UnknownKeys::REFUSE)?)
}

/// Writes the tensors of `encoder.py`, and what else a model folder has beside config.json, below
/// `prefix`.
pub(super) fn write_weights(folder: &mut GrowingFolder, prefix: &str, model: &Model) -> Result<()> {
    let name = |name: &str| format!("{prefix}{name}");
    let format = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let tensors = python_tensors(model);
    folder.write(&name(WEIGHTS), |file| {
        file::write_tensors(file, &tensors, format)
    })?;
    let preprocessor = model.preprocessor_config();
    folder.write(&name("preprocessor_config.json"), |file| {
        file.write_all(preprocessor.as_bytes())
    })?;
    if let Some(cmvn) = &model.cmvn {
        folder.write(&name(CMVN_FILE), |file| {
            file::write_tensors(file, &cmvn.tensors(), BTreeMap::new())
        })?;
    }
    Ok(())
}

/// Returns the tensors under the names of `encoder.py`: the weight norm's as newer PyTorch calls
/// them, and the statistics of log-mel frames.
fn python_tensors(model: &Model) -> Vec<Tensor<'_>> {
    let mut tensors: BTreeMap<String, (Vec<usize>, Cow<[f32]>)> = BTreeMap::new();
    for (name, shape) in model.architecture.tensors() {
        let values = read(model.weights.get(&name));
        let newer = name
            .replace("conv.weight_g", "conv.parametrizations.weight.original0")
            .replace("conv.weight_v", "conv.parametrizations.weight.original1");
        tensors.insert(newer, (shape, values));
    }
    if model.architecture.is_fbank() {
        let bins = model.architecture.fbank_bins;
        let (mean, std) = match &model.cmvn {
            Some(cmvn) => (Cow::from(&cmvn.mean), Cow::from(&cmvn.std)),
            None => (Cow::from(vec![0.0; bins]), Cow::from(vec![1.0; bins])),
        };
        tensors.insert("cmvn.mean".to_owned(), (vec![bins], mean));
        tensors.insert("cmvn.std".to_owned(), (vec![bins], std));
    }
    tensors
        .into_iter()
        .map(|(name, (shape, values))| (name, shape, values))
        .collect()
}
