//! A model's tensors by their Hugging Face names, and the folder that holds them.
use super::{Architecture, ExtractNorm};
use crate::Result;
use crate::data::file;
use compute::tensor::{Param, param, read};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Parameters by their Hugging Face names, without prefix.
#[derive(Clone)]
pub struct Weights(pub BTreeMap<String, Param>);

impl Weights {
    /// Returns a tensor that the architecture lists. Panics on any other name.
    pub fn get(&self, name: &str) -> &Param {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("no parameter {name}"))
    }

    pub fn find(&self, name: &str) -> Option<&Param> {
        self.0.get(name)
    }

    /// Returns several tensors whose names begin with `prefix`.
    pub fn all<const N: usize>(&self, prefix: &str, names: [&str; N]) -> [&Param; N] {
        names.map(|name| self.get(&format!("{prefix}{name}")))
    }
}

/// An architecture with its weights.
#[derive(Clone)]
pub struct Model {
    pub architecture: Architecture,
    pub weights: Weights,
    /// Whether it wants each waveform brought to zero mean and unit variance.
    pub normalize: bool,
}

/// Reads config.json of a model folder.
pub fn read_architecture(folder: &Path) -> Result<Architecture> {
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Architecture::from_config(&text).map_err(|e| format!("{}: {e}", path.display()).into())
}

/// Reads `do_normalize` of preprocessor_config.json. Without that file, models with layer norms in
/// the extractor want normalised waveforms, others do not.
fn read_normalize(folder: &Path, architecture: &Architecture) -> Result<bool> {
    const TRANSFORMERS_DEFAULT: bool = true;
    let path = folder.join("preprocessor_config.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(architecture.feat_extract_norm == ExtractNorm::Layer);
    };
    let keys: Json = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    let rate = &keys["sampling_rate"];
    if rate.as_f64().is_some_and(|rate| rate != 16000.0) {
        let path = path.display();
        return Err(format!("{path}: the model wants {rate} Hz, not 16000").into());
    }
    Ok(keys["do_normalize"]
        .as_bool()
        .unwrap_or(TRANSFORMERS_DEFAULT))
}

impl Model {
    /// Loads a folder with config.json and model.safetensors. An `architecture` of the same shapes
    /// replaces the folder's.
    pub fn load(folder: &Path, architecture: Option<&Architecture>) -> Result<Model> {
        let stored = read_architecture(folder)?;
        let architecture = architecture.cloned().unwrap_or(stored);
        let path = folder.join("model.safetensors");
        let file = path.display();
        if !path.exists() {
            return Err(format!(
                "{file}: is not there; convert the checkpoint to safetensors \
                 (`model.save_pretrained(folder)` in transformers)"
            )
            .into());
        }
        let mut found: BTreeMap<String, _> = file::load(&path)?
            .into_iter()
            .map(|(name, tensor)| (plain_name(&name), tensor))
            .collect();
        let mut weights = BTreeMap::new();
        for (name, shape) in architecture.tensors() {
            let Some((found_shape, values)) = found.remove(&name) else {
                return Err(format!("{file}: there is no tensor `{name}`").into());
            };
            if found_shape != shape {
                return Err(format!(
                    "{file}: `{name}` is {found_shape:?}, but config.json says {shape:?}"
                )
                .into());
            }
            weights.insert(name, param(values));
        }
        let normalize = read_normalize(folder, &architecture)?;
        Ok(Model {
            architecture,
            weights: Weights(weights),
            normalize,
        })
    }

    /// Writes the folder beside its place, then renames it: it is complete or absent. Replaces a
    /// folder of that name.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let unfinished = file::temporary(folder);
        let _ = std::fs::remove_dir_all(&unfinished);
        let shapes: BTreeMap<String, Vec<usize>> =
            self.architecture.tensors().into_iter().collect();
        let tensors: Vec<_> = shapes
            .iter()
            .map(|(name, shape)| (name.clone(), shape.clone(), read(self.weights.get(name))))
            .collect();
        let preprocessor = json!({
            "do_normalize": self.normalize,
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "feature_size": 1,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": self.normalize,
            "sampling_rate": 16000,
        });
        file::save(
            &unfinished.join("model.safetensors"),
            &tensors,
            [("format".to_owned(), "pt".to_owned())].into(),
        )?;
        for (name, json) in [
            ("config.json", self.architecture.to_config()),
            ("preprocessor_config.json", preprocessor),
        ] {
            file::write_atomic(&unfinished.join(name), format!("{json:#}\n").as_bytes())?;
        }
        file::replace_folder(&unfinished, folder)
    }
}

/// Removes a prefix such as `hubert.`, and returns the older names of the weight norm's tensors.
fn plain_name(name: &str) -> String {
    let name = ["hubert.", "wav2vec2.", "wavlm."]
        .iter()
        .find_map(|p| name.strip_prefix(p))
        .unwrap_or(name);
    name.replace("parametrizations.weight.original0", "weight_g")
        .replace("parametrizations.weight.original1", "weight_v")
}
