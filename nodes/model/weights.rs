//! A model's tensors by their Hugging Face names, and the folder that holds them.
use super::config_keys::{UnknownKeys, unknown_keys};
use super::normalization::Normalization;
use super::{Architecture, CMVN_FILE, Cmvn};
use crate::Result;
use crate::data::error::PathContext;
use crate::data::file;
use compute::tensor::{Param, param, read};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;

/// What the names of an encoder's own tensors begin with; others are heads of a task.
const ENCODER: [&str; 3] = ["encoder.", "feature_extractor.", "feature_projection."];

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
    /// How a model of log-mel frames normalises them; `None`: not at all.
    pub cmvn: Option<Cmvn>,
}

/// A model as it was loaded, with what its folder says beside it.
pub struct LoadedModel {
    pub model: Model,
    pub normalization: Normalization,
    /// Keys of config.json that this program does not know, with their values.
    pub unknown_keys: Vec<(String, Json)>,
    /// Tensors of the encoder, the extractor or the projection that the architecture does not list.
    pub unread_tensors: Vec<String>,
}

/// Reads config.json of a model folder.
pub fn read_architecture(folder: &Path, unknown: UnknownKeys) -> Result<Architecture> {
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).at(&path)?;
    Architecture::from_config(&text, unknown).at(&path)
}

impl Model {
    /// Loads a folder, as [`Model::load_with_details`]; a tensor of the encoder that nothing reads is
    /// an error, since it would change the numbers.
    pub fn load(
        folder: &Path,
        architecture: Option<&Architecture>,
        unknown: UnknownKeys,
    ) -> Result<Model> {
        let loaded = Model::load_with_details(folder, architecture, unknown)?;
        if let Some(name) = loaded.unread_tensors.first() {
            let file = folder.join("model.safetensors");
            return Err(format!(
                "{}: nothing reads the tensor `{name}`: config.json describes another model, or one \
                 that this version does not know",
                file.display()
            )
            .into());
        }
        Ok(loaded.model)
    }

    /// Loads a folder with config.json and model.safetensors. An `architecture` of the same shapes
    /// replaces the folder's.
    pub fn load_with_details(
        folder: &Path,
        architecture: Option<&Architecture>,
        unknown: UnknownKeys,
    ) -> Result<LoadedModel> {
        let stored = read_architecture(folder, unknown)?;
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
        let normalization = Normalization::read(folder, &architecture)?;
        let statistics = folder.join(CMVN_FILE);
        let cmvn = (architecture.is_fbank() && statistics.exists())
            .then(|| Cmvn::load(&statistics, architecture.fbank_bins))
            .transpose()?;
        let is_encoder = |name: &String| ENCODER.iter().any(|prefix| name.starts_with(prefix));
        let config = folder.join("config.json");
        let keys = serde_json::from_str(&std::fs::read_to_string(&config).at(&config)?);
        Ok(LoadedModel {
            model: Model {
                architecture,
                weights: Weights(weights),
                normalize: normalization.normalize,
                cmvn,
            },
            normalization,
            unknown_keys: unknown_keys(&keys.at(&config)?),
            unread_tensors: found.into_keys().filter(is_encoder).collect(),
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
        if let Some(cmvn) = &self.cmvn {
            cmvn.save(&unfinished.join(CMVN_FILE))?;
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
