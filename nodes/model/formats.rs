//! Checkpoints of other programs: files of torch.save, told apart by what they hold and never by
//! their names. Each becomes an architecture and tensors by their Hugging Face names.
mod diarizen;
mod distiller;
mod encoder;
mod fairseq;
pub(super) mod head;
mod keys;
mod lighthubert;
mod lightning;
mod names;
mod python_list;
mod torchaudio;
mod yaml;

use super::normalization::Normalization;
use super::stored::Stored;
use super::{Architecture, CMVN_FILE, Cmvn};
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::read_files::ReadFiles;
use crate::data::torch::{TorchFile, Value};
use serde_json::Value as Json;
use std::path::Path;

pub(super) use diarizen::{DIARIZEN_CONFIG, builder_config, describing_files, is_diarizen_folder};
pub(super) use torchaudio::is_builder_config;

/// As fairseq's.
const TORCHAUDIO_EPSILON: f32 = 1e-5;

/// Returns the name of the file beside a model of this format that has its statistics of log-mel
/// frames.
pub fn statistics_file(format: &str) -> &'static str {
    match format {
        distiller::FORMAT => distiller::STATISTICS,
        _ => CMVN_FILE,
    }
}

/// What the names of a WavLM's tensors begin with in a model of DiariZen.
const DIARIZEN_PREFIX: &str = "wavlm_model.";

/// The most names that a message lists.
const LISTED: usize = 12;

/// A model as its files hold it: what its configuration says, and its tensors, not read yet.
pub(super) struct StoredModel {
    pub(super) format: &'static str,
    pub(super) architecture: Architecture,
    /// By their names in an [`Architecture`]; of another program's also the head that labels frames.
    pub(super) stored: Stored,
    pub(super) normalization: Normalization,
    /// Added to the variance of a waveform that is normalised.
    pub(super) epsilon: f32,
    /// Statistics of log-mel frames.
    pub(super) cmvn: Option<Cmvn>,
    /// The dictionary of the label embeddings, if the file has it.
    pub(super) symbols: Option<Vec<String>>,
}

/// Opens a file of torch.save; reads no numbers. Errors name the file.
///
/// # Errors
/// The file is damaged, of no known format, or describes a model that this program does not compute.
pub(super) fn open(path: &Path, read_files: &mut ReadFiles) -> Result<StoredModel> {
    let file = TorchFile::open(path)?;
    read_files.insert_open(path, file.reopened()?)?;
    let root = file.root();
    let has = |key: &str| root.get(key).is_some();
    let opened = if has("Distiller") {
        distiller::distiller(file, read_files)?
    } else if has("model_weight") && has("model_cfg") {
        fairseq::s3prl(file).at(path)?
    } else if has("state_dict") && has("config") {
        torchaudio::torchaudio(file).at(path)?
    } else if has("state_dict") {
        lightning::lightning(file, read_files)?
    } else if has("model") && (has("cfg") || has("args")) {
        of_fairseq_or_unilm(file).at(path)?
    } else {
        return Err(error_at(path, unknown(root)));
    };
    checked(opened).at(path)
}

/// Reads a folder that is described by the arguments of a builder, `config`, in place of the keys of
/// transformers.
pub(super) fn of_folder(config: Json, stored: Stored) -> Result<StoredModel, String> {
    checked(torchaudio::built(config, stored)?)
}

/// Checks the architecture of a checkpoint, and names it.
fn checked(opened: StoredModel) -> Result<StoredModel, String> {
    let mut architecture = opened.architecture;
    architecture.validate()?;
    let model_type = architecture.to_config()["model_type"].clone();
    architecture.model_type = model_type.as_str().unwrap_or_default().to_owned();
    Ok(StoredModel {
        architecture,
        ..opened
    })
}

/// Opens a file with `model` and its configuration: fairseq's has parts, unilm's is flat.
fn of_fairseq_or_unilm(file: TorchFile) -> Result<StoredModel, String> {
    let cfg = file.root().get("cfg");
    if cfg.is_some_and(lighthubert::is_lighthubert) {
        return lighthubert::lighthubert(file);
    }
    let part = cfg.and_then(|cfg| cfg.get("model"));
    let is_flat = cfg.is_some_and(|cfg| cfg.get("encoder_layers").is_some());
    if is_flat && part.is_none() {
        fairseq::unilm(file)
    } else {
        fairseq::fairseq(file)
    }
}

/// Says what a file holds that is none of the known formats, and what would make one of it.
fn unknown(root: Value) -> String {
    let entries = root.entries();
    let tensors = entries
        .iter()
        .filter(|(_, value)| value.tensor().is_some())
        .count();
    let of_diarizen = entries
        .iter()
        .any(|(name, _)| name.starts_with(DIARIZEN_PREFIX));
    if root.get("dims").is_some() && root.get("model_state_dict").is_some() {
        return "is Whisper in OpenAI's own form; name the folder of the same model in transformers' form, \
                such as openai/whisper-tiny of the Hugging Face hub"
            .into();
    }
    if tensors > 0 && of_diarizen {
        return "holds the tensors of a diarization model of DiariZen, which do not say which heads \
                its WavLM has; put the config.toml that came with it beside it, call the file \
                pytorch_model.bin, and name their folder"
            .into();
    }
    if tensors > 0 && tensors == entries.len() {
        return "holds tensors alone, which do not say how many heads the model has; put it as \
                pytorch_model.bin into a folder with its config.json (transformers), or save \
                {\"config\": {...}, \"state_dict\": {...}} (torchaudio)"
            .into();
    }
    let names: Vec<String> = entries
        .iter()
        .take(LISTED)
        .map(|(key, _)| format!("`{}`", crate::data::printable::printable(key)))
        .collect();
    let holds = match (names.is_empty(), root.class()) {
        (false, _) => names.join(", "),
        (true, Some(class)) => format!("an object of `{class}`, whose code is not run"),
        (true, None) => "no dictionary".into(),
    };
    format!(
        "is no checkpoint of a format that this version reads: it holds {holds} (docs/models.md \
         lists the formats)"
    )
}
