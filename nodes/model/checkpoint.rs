//! What a path holds that names a model: a folder of transformers or of this program, or a file that
//! another program saved. Which it is, its contents say.
use super::config_keys::{UnknownKeys, unknown_keys};
use super::formats::{DIARIZEN_CONFIG, StoredModel, is_builder_config, is_diarizen_folder};
use super::normalization::{HUGGING_FACE_EPSILON, Normalization};
use super::stored::{Stored, older_name};
use super::weight_files::{WeightFiles, lacks, prefix};
use super::{Architecture, CMVN_FILE, Cmvn, MASK_EMBEDDING, formats, whisper};
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::file;
use crate::data::printable::printable_path;
use crate::data::read_files::ReadFiles;
use crate::data::text;
use crate::data::torch::is_torch_file;
use serde_json::Value as Json;
use std::path::Path;

/// The name of a format's own folders, and of those of transformers.
const HUGGING_FACE: &str = "huggingface";

/// The name of DiariZen's folders.
const DIARIZEN: &str = "diarizen";

/// An open checkpoint: its model, and what messages and hashes need of its files.
pub(super) struct Checkpoint {
    pub(super) model: StoredModel,
    /// Keys of the configuration that this program does not know, with their values.
    pub(super) unknown_keys: Vec<(String, Json)>,
    /// The files that were read, or opened.
    pub(super) read_files: ReadFiles,
    /// What messages call the configuration.
    pub(super) described_by: &'static str,
}

impl Checkpoint {
    /// Opens a model folder, or a file of torch.save.
    pub(super) fn open(path: &Path, unknown: UnknownKeys) -> Result<Checkpoint> {
        if !path.is_file() {
            return open_folder(path, unknown);
        }
        let mut read_files = ReadFiles::default();
        Ok(Checkpoint {
            model: open_file(path, &mut read_files)?,
            unknown_keys: vec![],
            read_files,
            described_by: "its configuration",
        })
    }
}

/// Opens a file that another program saved.
pub(super) fn open_file(path: &Path, read_files: &mut ReadFiles) -> Result<StoredModel> {
    if is_torch_file(path) {
        return formats::open(path, read_files);
    }
    let is_weights = super::weight_files::is_safetensors(path);
    let message = if is_weights {
        "holds tensors alone; name its folder, which has config.json beside it"
    } else {
        "is no model: neither a folder with config.json nor a file of torch.save (docs/models.md \
         lists what is read)"
    };
    Err(error_at(path, message))
}

fn open_folder(folder: &Path, unknown: UnknownKeys) -> Result<Checkpoint> {
    check_exists(folder)?;
    let mut read_files = ReadFiles::default();
    if is_diarizen_folder(folder) {
        let keys = formats::builder_config(folder, &mut read_files)?;
        let mut opened = open_built(folder, keys, read_files, DIARIZEN_CONFIG)?;
        opened.model.format = DIARIZEN;
        return Ok(opened);
    }
    let config_path = folder.join("config.json");
    if !config_path.exists() {
        return Err(error_at(
            folder,
            "is no model's folder: it has no config.json (docs/models.md lists what is read)",
        ));
    }
    let config = read_files.text(&config_path)?;
    let keys: Json = serde_json::from_str(&config).at(&config_path)?;
    if is_builder_config(&keys) {
        return open_built(folder, keys, read_files, "config.json");
    }
    let architecture = Architecture::from_config(&config, unknown).at(&config_path)?;
    let files = WeightFiles::find(folder, &mut read_files)?;
    let stored = files.open(&mut read_files)?;
    let stored = if architecture.is_whisper() {
        whisper::renamed(stored)
    } else {
        encoder_tensors(stored, &architecture)?
    };
    let normalization = Normalization::read(folder, &architecture, &mut read_files)?;
    let statistics = folder.join(CMVN_FILE);
    let cmvn = if architecture.is_fbank() && statistics.exists() {
        let bins = architecture.fbank_bins;
        Some(Cmvn::read(&statistics, bins, &mut read_files)?)
    } else {
        None
    };
    let unknown_keys = keys.as_object().map(unknown_keys).unwrap_or_default();
    Ok(Checkpoint {
        model: StoredModel {
            format: HUGGING_FACE,
            architecture,
            stored,
            normalization,
            epsilon: HUGGING_FACE_EPSILON,
            cmvn,
            symbols: None,
        },
        unknown_keys,
        read_files,
        described_by: "config.json",
    })
}

/// Opens a folder whose model a builder makes of the arguments `keys`.
fn open_built(
    folder: &Path,
    keys: Json,
    mut read_files: ReadFiles,
    described_by: &'static str,
) -> Result<Checkpoint> {
    let stored = WeightFiles::find(folder, &mut read_files)?.open(&mut read_files)?;
    Ok(Checkpoint {
        model: formats::of_folder(keys, stored).at(folder)?,
        unknown_keys: vec![],
        read_files,
        described_by,
    })
}

fn check_exists(model: &Path) -> Result<()> {
    if model.exists() {
        return Ok(());
    }
    let hint = file::hint(&model.to_string_lossy());
    let hint = match hint.is_empty() {
        true => "; name a model's folder, or the file of a checkpoint",
        false => &hint,
    };
    let name = printable_path(model);
    Err(format!("there is no folder `{name}`{hint}").into())
}

/// Returns the tensors of the encoder by their names in an [`Architecture`]: without a prefix such
/// as `hubert.`, and with the older names of the weight norm's tensors.
///
/// Tensors that are not below the prefix belong to the head of a task.
fn encoder_tensors(stored: Stored, architecture: &Architecture) -> Result<Stored> {
    let path = stored.path().to_owned();
    let stored = stored.rename(|name| Some(older_name(name)));
    let prefix = prefix(stored.names(), architecture).at(&path)?;
    Ok(stored.rename(|name| name.strip_prefix(&prefix).map(str::to_owned)))
}

/// Reads the architecture of a checkpoint: of a folder from config.json and the names of its tensors
/// if they are there, of another program's from its configuration and its tensors.
///
/// A mask embedding that config.json asks for and the folder does not have is left out of the
/// architecture: only masking needs it.
pub fn read_architecture(path: &Path, unknown: UnknownKeys) -> Result<Architecture> {
    if path.is_file() {
        return Ok(open_file(path, &mut ReadFiles::default())?.architecture);
    }
    check_exists(path)?;
    if is_built(path)? {
        return Ok(open_folder(path, unknown)?.model.architecture);
    }
    let config = path.join("config.json");
    let text = text::read_small(&config).at(&config)?;
    let mut architecture = Architecture::from_config(&text, unknown).at(&config)?;
    if architecture.has_mask_embedding() && lacks(path, &architecture, MASK_EMBEDDING) {
        architecture.remove_mask_embedding();
    }
    Ok(architecture)
}

/// Whether a builder makes the model of a folder from its arguments: its tensors then say the rest.
fn is_built(folder: &Path) -> Result<bool> {
    if is_diarizen_folder(folder) {
        return Ok(true);
    }
    let config = folder.join("config.json");
    let text = text::read_small(&config).at(&config)?;
    Ok(serde_json::from_str(&text).is_ok_and(|keys| is_builder_config(&keys)))
}

/// What the files of a model say of it beside its tensors.
pub struct StatedModel {
    pub architecture: Architecture,
    /// Whether waveforms are normalised.
    pub normalize: bool,
}

impl StatedModel {
    /// Reads what a model's files say. Of a folder of transformers it reads no tensor.
    pub fn read(path: &Path, unknown: UnknownKeys) -> Result<StatedModel> {
        if path.is_file() || is_built(path)? {
            let model = Checkpoint::open(path, unknown)?.model;
            return Ok(StatedModel {
                architecture: model.architecture,
                normalize: model.normalization.normalize,
            });
        }
        let architecture = read_architecture(path, unknown)?;
        let files = &mut ReadFiles::default();
        let normalize = Normalization::read(path, &architecture, files)?.normalize;
        Ok(StatedModel {
            architecture,
            normalize,
        })
    }
}

/// Whether a model of log-mel frames has the statistics that normalise them.
pub fn has_statistics(path: &Path, unknown: UnknownKeys) -> bool {
    if path.is_file() {
        let opened = open_file(path, &mut ReadFiles::default());
        return opened.is_ok_and(|opened| opened.cmvn.is_some());
    }
    let stored = read_architecture(path, unknown);
    stored.is_ok_and(|stored| stored.is_fbank()) && path.join(CMVN_FILE).exists()
}
