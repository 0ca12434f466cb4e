//! A model's tensors by their Hugging Face names: loaded from a checkpoint of any format, written as
//! a folder.
use super::checkpoint::Checkpoint;
use super::config_keys::UnknownKeys;
use super::normalization::Normalization;
use super::stored::listed;
use super::{Architecture, CMVN_FILE, Cmvn, MASK_EMBEDDING};
use crate::Result;
use crate::data::audio::resample::RATE;
use crate::data::error::error_at;
use crate::data::file::{self, GrowingFolder};
use crate::data::read_files::ReadFiles;
use compute::gemm::Precision;
use compute::op::PackedWeights;
use compute::tensor::{Param, param, read};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

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
    /// What is added to the variance then; it differs between the programs that trained models.
    pub normalize_epsilon: f32,
    /// How a model of log-mel frames normalises them; `None`: not at all.
    pub cmvn: Option<Cmvn>,
    /// What [`Model::pack`] has packed.
    pub packed: PackedWeights,
}

/// A model as it was loaded, with what its checkpoint says beside it.
pub struct LoadedModel {
    pub model: Model,
    /// The program whose checkpoints have this form, such as `huggingface` or `fairseq`.
    pub format: &'static str,
    pub normalization: Normalization,
    /// Keys of config.json that this program does not know, with their values.
    pub unknown_keys: Vec<(String, Json)>,
    /// Tensors of the encoder, the extractor or the projection that the architecture does not list.
    pub unread_tensors: Vec<String>,
    /// The files that it was loaded from.
    pub read_files: ReadFiles,
}

impl Model {
    /// Loads a checkpoint, as [`LoadedModel::read`]; a tensor of the encoder that nothing reads is an
    /// error, since it would change the numbers.
    pub fn load(path: &Path, unknown: UnknownKeys) -> Result<Model> {
        Ok(LoadedModel::load(path, unknown)?.model)
    }

    /// Packs the weights of the layers' linear maps for passes of this precision without gates and
    /// gradients, so that no pass does. They cannot be read, written or trained any more.
    pub fn pack(&mut self, precision: Precision) {
        let shapes = self.architecture.tensors();
        for (name, shape) in shapes {
            if let &[out, width] = &shape[..]
                && is_linear_map(&name)
                && let Some(weight) = self.weights.0.get_mut(&name)
            {
                self.packed.pack(precision, out, width, weight);
            }
        }
    }

    /// Says that log-mel frames stay as they are, for a model that was loaded without statistics.
    pub(crate) fn why_not_normalized(&self) -> Option<String> {
        let lacks = self.architecture.is_fbank() && self.cmvn.is_none();
        lacks.then(|| {
            format!(
                "log-mel frames are not normalised, since no {CMVN_FILE} is beside the model (of a \
                 checkpoint of TCL606/s3prl: no global_cmvn.npy); if it was trained with one, copy \
                 it there"
            )
        })
    }
}

/// Whether a tensor is the weight of a layer's linear map.
fn is_linear_map(name: &str) -> bool {
    let ends = [
        "attention.q_proj.weight",
        "attention.k_proj.weight",
        "attention.v_proj.weight",
        "attention.out_proj.weight",
        "feed_forward.intermediate_dense.weight",
        "feed_forward.output_dense.weight",
    ];
    name.starts_with("encoder.layers.") && ends.iter().any(|end| name.ends_with(end))
}

impl LoadedModel {
    /// Loads a checkpoint, as [`Model::load`].
    pub fn load(path: &Path, unknown: UnknownKeys) -> Result<LoadedModel> {
        let (loaded, weights) = LoadedModel::read_from(path, unknown)?;
        let unread = loaded.unread_tensors.iter();
        let mut problems: Vec<String> = unread
            .map(|name| format!("nothing reads the tensor `{name}`"))
            .collect();
        let Some(last) = problems.last_mut() else {
            return Ok(loaded);
        };
        last.push_str(
            ": its configuration describes another model, or one that this version does not know",
        );
        Err(error_at(&weights, listed(problems)))
    }

    /// Reads each file of a checkpoint once: its configuration, the tensors, and who says whether
    /// waveforms are normalised.
    ///
    /// # Errors
    /// A file cannot be read, or tensors are missing or have other shapes or types; all are listed.
    pub fn read(path: &Path, unknown: UnknownKeys) -> Result<LoadedModel> {
        Ok(LoadedModel::read_from(path, unknown)?.0)
    }

    /// Reads a checkpoint, and returns the file that messages about its tensors name.
    fn read_from(path: &Path, unknown: UnknownKeys) -> Result<(LoadedModel, PathBuf)> {
        let checkpoint = Checkpoint::open(path, unknown)?;
        let mut architecture = checkpoint.model.architecture;
        let mut stored = checkpoint.model.stored;
        if !stored.tensors.contains_key(MASK_EMBEDDING) {
            architecture.remove_mask_embedding();
        }
        stored.check(&architecture, checkpoint.described_by)?;
        let unread_tensors = stored.unread(&architecture);
        let mut weights = BTreeMap::new();
        for (name, shape) in architecture.tensors() {
            let values = stored.take(&name, &shape)?;
            weights.insert(name, param(values));
        }
        let loaded = LoadedModel {
            model: Model {
                architecture,
                weights: Weights(weights),
                normalize: checkpoint.model.normalization.normalize,
                normalize_epsilon: checkpoint.model.epsilon,
                cmvn: checkpoint.model.cmvn,
                packed: PackedWeights::default(),
            },
            format: checkpoint.model.format,
            normalization: checkpoint.model.normalization,
            unknown_keys: checkpoint.unknown_keys,
            unread_tensors,
            read_files: checkpoint.read_files,
        };
        Ok((loaded, stored.path().to_owned()))
    }
}

impl Model {
    /// Writes the folder beside its place, then renames it: it is complete or absent. Replaces the
    /// model of a folder of that name; what else is in it stays.
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
        growing.finish_among(&[&FILES[..], &[CMVN_FILE]].concat())
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
            "sampling_rate": RATE,
        });
        format!("{keys:#}\n")
    }
}

/// The files of a folder that [`Model::save`] writes.
pub const FILES: [&str; 3] = [
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
];
