//! A model's tensors by their Hugging Face names, and the folder that holds them.
use super::MASK_EMBEDDING;
use super::config_keys::{UnknownKeys, unknown_keys};
use super::normalization::Normalization;
use super::weight_files::{WeightFiles, lacks, prefix};
use super::{Architecture, CMVN_FILE, Cmvn};
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::file::{self, GrowingFolder, Tensors};
use crate::data::printable::printable_path;
use crate::data::read_files::ReadFiles;
use crate::data::text;
use compute::tensor::{Param, param, read};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::io::Write;
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
    /// The files that it was loaded from.
    pub read_files: ReadFiles,
}

/// Reads config.json of a model folder, and the names of its tensors if they are there.
///
/// A mask embedding that config.json asks for and the folder does not have is left out of the
/// architecture: only masking needs it.
pub fn read_architecture(folder: &Path, unknown: UnknownKeys) -> Result<Architecture> {
    check_exists(folder)?;
    let path = folder.join("config.json");
    let text = text::read_small(&path).at(&path)?;
    let mut architecture = Architecture::from_config(&text, unknown).at(&path)?;
    if architecture.has_mask_embedding() && lacks(folder, &architecture, MASK_EMBEDDING) {
        architecture.remove_mask_embedding();
    }
    Ok(architecture)
}

fn check_exists(folder: &Path) -> Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let hint = file::hint(&folder.to_string_lossy());
    let name = printable_path(folder);
    Err(format!("there is no folder `{name}`{hint}").into())
}

impl Model {
    /// Loads a folder, as [`LoadedModel::read`]; a tensor of the encoder that nothing reads is an
    /// error, since it would change the numbers.
    pub fn load(folder: &Path, unknown: UnknownKeys) -> Result<Model> {
        Ok(LoadedModel::load(folder, unknown)?.model)
    }

    /// Says that log-mel frames stay as they are, for a model that was loaded without statistics.
    pub(crate) fn why_not_normalized(&self) -> Option<String> {
        let lacks = self.architecture.is_fbank() && self.cmvn.is_none();
        lacks.then(|| {
            format!(
                "log-mel frames are not normalised, since no {CMVN_FILE} is beside the model; if it \
                 was trained with one, copy it there"
            )
        })
    }
}

impl LoadedModel {
    /// Loads a folder, as [`Model::load`].
    pub fn load(folder: &Path, unknown: UnknownKeys) -> Result<LoadedModel> {
        let loaded = LoadedModel::read(folder, unknown)?;
        if let Some(name) = loaded.unread_tensors.first() {
            let message = format!(
                "nothing reads the tensor `{name}`: config.json describes another model, or one \
                 that this version does not know"
            );
            return Err(error_at(&folder.join("model.safetensors"), message));
        }
        Ok(loaded)
    }

    /// Reads each file of a folder once: config.json, the tensors, and who says whether waveforms
    /// are normalised.
    pub fn read(folder: &Path, unknown: UnknownKeys) -> Result<LoadedModel> {
        check_exists(folder)?;
        let mut read_files = ReadFiles::default();
        let config_path = folder.join("config.json");
        let config = read_files.text(&config_path)?;
        let mut architecture = Architecture::from_config(&config, unknown).at(&config_path)?;
        let files = WeightFiles::find(folder, &mut read_files)?;
        let tensors = files.load(&mut read_files)?;
        let mut tensors = encoder_tensors(tensors, &architecture).at(files.path())?;
        if !tensors.floats.contains_key(MASK_EMBEDDING) {
            architecture.remove_mask_embedding();
        }
        let mut weights = BTreeMap::new();
        for (name, shape) in architecture.tensors() {
            let Some((found_shape, values)) = tensors.floats.remove(&name) else {
                return Err(error_at(files.path(), tensors.why_missing(&name)));
            };
            if found_shape != shape {
                let message =
                    format!("`{name}` is {found_shape:?}, but config.json says {shape:?}");
                return Err(error_at(files.path(), message));
            }
            weights.insert(name, param(values));
        }
        let normalization = Normalization::read(folder, &architecture, &mut read_files)?;
        let statistics = folder.join(CMVN_FILE);
        let cmvn = if architecture.is_fbank() && statistics.exists() {
            Some(Cmvn::read(
                &statistics,
                architecture.fbank_bins,
                &mut read_files,
            )?)
        } else {
            None
        };
        let is_encoder = |name: &&str| ENCODER.iter().any(|prefix| name.starts_with(prefix));
        let unread_tensors = tensors.names().filter(is_encoder);
        let keys = serde_json::from_str(&config).at(&config_path)?;
        Ok(LoadedModel {
            model: Model {
                architecture,
                weights: Weights(weights),
                normalize: normalization.normalize,
                cmvn,
            },
            normalization,
            unknown_keys: unknown_keys(&keys),
            unread_tensors: unread_tensors.map(str::to_owned).collect(),
            read_files,
        })
    }
}

/// Returns the tensors of the encoder by their names in an [`Architecture`]: without a prefix such
/// as `hubert.`, and with the older names of the weight norm's tensors.
///
/// Tensors that are not below the prefix belong to the head of a task.
fn encoder_tensors(tensors: Tensors, architecture: &Architecture) -> Result<Tensors> {
    let tensors = tensors.rename(|name| Some(older_name(name)));
    let prefix = prefix(tensors.names(), architecture)?;
    Ok(tensors.rename(|name| name.strip_prefix(&prefix).map(str::to_owned)))
}

impl Model {
    /// Writes the folder beside its place, then renames it: it is complete or absent. Replaces a
    /// folder of that name.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let shapes: BTreeMap<String, Vec<usize>> =
            self.architecture.tensors().into_iter().collect();
        let tensors: Vec<_> = shapes
            .iter()
            .map(|(name, shape)| (name.clone(), shape.clone(), read(self.weights.get(name))))
            .collect();
        let config = format!("{:#}\n", self.architecture.to_config());
        let preprocessor = self.preprocessor_config();
        let format = [("format".to_owned(), "pt".to_owned())].into();
        let mut growing = GrowingFolder::create(folder, "config.json", config.as_bytes())?;
        growing.write("model.safetensors", |file| {
            file::write_tensors(file, &tensors, format)
        })?;
        growing.write("preprocessor_config.json", |file| {
            file.write_all(preprocessor.as_bytes())
        })?;
        if let Some(cmvn) = &self.cmvn {
            growing.write(CMVN_FILE, |file| {
                file::write_tensors(file, &cmvn.tensors(), BTreeMap::new())
            })?;
        }
        growing.finish()
    }

    /// Returns the text of preprocessor_config.json, which says whether waveforms are normalised.
    pub(crate) fn preprocessor_config(&self) -> String {
        let keys = json!({
            "do_normalize": self.normalize,
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "feature_size": 1,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": self.normalize,
            "sampling_rate": 16000,
        });
        format!("{keys:#}\n")
    }
}

/// Returns the older names of the weight norm's tensors.
fn older_name(name: &str) -> String {
    name.replace("parametrizations.weight.original0", "weight_g")
        .replace("parametrizations.weight.original1", "weight_v")
}

/// The files of a folder that [`Model::save`] writes.
pub const FILES: [&str; 3] = [
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
];
