//! Students in Lightning's checkpoints of sungnyun/ARMHuBERT (ARMHuBERT, MaskHuBERT, STaRHuBERT),
//! beside their teacher and the optimizer's state. The recipe is in `hyper_parameters.cfg`, or is the
//! file of the same name that ends in `.yaml`.
use super::encoder;
use super::keys::Keys;
use super::python_list::flags;
use super::{StoredModel, names, torchaudio, yaml};
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::read_files::ReadFiles;
use crate::data::torch::{TorchFile, Value};
use crate::model::normalization::Normalization;
use crate::model::stored::{Stored, StoredTensor, described};
use crate::model::{Architecture, FAIRSEQ_EPSILON};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

const STUDENT: &str = "student_model.";
/// Heads, which predict the teacher's layers.
const HEADS: &[&str] = &["proj_head.", "final_proj.", "upsampler."];

/// Reads a file, and the recipe beside it if the file holds none.
pub(super) fn lightning(file: TorchFile, read_files: &mut ReadFiles) -> Result<StoredModel> {
    let path = file.path().to_owned();
    let state = file.root().get("state_dict");
    let tensors = state.map(described).unwrap_or_default();
    // As DPHuBERT's training writes them, before its prune.py.
    torchaudio::refuse_gates(tensors.keys().map(String::as_str)).at(&path)?;
    if tensors.contains_key(&format!("{STUDENT}{}", names::TORCHAUDIO_ANCHOR)) {
        let message = "is a checkpoint of DPHuBERT's training without its configuration; DPHuBERT's \
                       save_final_ckpt.py writes a file that holds both";
        return Err(error_at(&path, message));
    }
    if !tensors.keys().any(|name| name.starts_with(STUDENT)) {
        let message = format!("has no tensor below `{STUDENT}`, so no student of these methods");
        return Err(error_at(&path, message));
    }
    let recipe = match recipe_within(file.root()).at(&path)? {
        Some(recipe) => recipe,
        None => {
            let recipe_path = path.with_extension("yaml");
            if !recipe_path.exists() {
                let message = format!(
                    "has no recipe in `hyper_parameters.cfg`, and there is no {}; put the yaml of \
                     its training there",
                    recipe_path.display()
                );
                return Err(error_at(&path, message));
            }
            let text = read_files.text(&recipe_path)?;
            yaml::parse(&text).at(&recipe_path)?
        }
    };
    read(file, tensors, recipe).at(&path)
}

/// Returns the recipe of `hyper_parameters.cfg`, a dictionary or the text of a yaml.
fn recipe_within(root: Value) -> Result<Option<Map<String, Json>>, String> {
    let parameters = root.get("hyper_parameters");
    let Some(cfg) = parameters.and_then(|parameters| parameters.get("cfg")) else {
        return Ok(None);
    };
    match cfg.text() {
        Some(text) => yaml::parse(text).map(Some),
        None => Ok(Keys::of(cfg.json()?, "`hyper_parameters.cfg`").map(|keys| Some(keys.0))?),
    }
}

fn read(
    file: TorchFile,
    tensors: BTreeMap<String, StoredTensor>,
    mut recipe: Map<String, Json>,
) -> Result<StoredModel, String> {
    let distiller = recipe.remove("distiller").unwrap_or(Json::Null);
    let keys = Keys::of(distiller, "recipe's part `distiller`")?;
    if keys.flag("enable_tr_layer", false)? {
        return Err(
            "has a time reduction layer (`enable_tr_layer`), which this version does not \
                    read"
                .into(),
        );
    }
    let tensors = encoder::renamed(tensors, STUDENT);
    let architecture = encoder::architecture(&keys, "conv_feature_layers", &tensors)?;
    let reuse = reuse(&keys, architecture.num_hidden_layers, &tensors)?;
    let architecture = Architecture {
        reuse_as_released: reuse.is_some(),
        encoder_reuse_attention: reuse,
        ..architecture
    };
    Ok(StoredModel {
        format: "lightning",
        normalization: Normalization::of_checkpoint(false),
        epsilon: FAIRSEQ_EPSILON,
        architecture,
        stored: encoder::without(Stored::of_torch(file, tensors), HEADS),
        cmvn: None,
        symbols: None,
    })
}

/// Returns which layers reuse an attention map; `None` if each computes its own. The recipe's list
/// says which compute one, but the classes without reuse do not read it.
fn reuse(
    keys: &Keys,
    layers: usize,
    tensors: &BTreeMap<String, StoredTensor>,
) -> Result<Option<Vec<bool>>, String> {
    let computes = |layer: usize| {
        tensors.contains_key(&format!("encoder.layers.{layer}.attention.q_proj.weight"))
    };
    if (0..layers).all(computes) {
        return Ok(None);
    }
    let Some(pattern) = keys.get("reuse_pattern") else {
        return Ok(None);
    };
    let pattern = match pattern {
        Json::String(text) => flags(text),
        Json::Array(items) => items.iter().map(Json::as_bool).collect(),
        _ => None,
    };
    let reuse = pattern.map(|computes| computes.into_iter().map(|own| !own).collect());
    let reuse: Vec<bool> = reuse.ok_or("its `reuse_pattern` is no list of truth values")?;
    Ok(reuse.contains(&true).then_some(reuse))
}
