//! Students of s3prl's distiller (DistilHuBERT) and of its fork TCL606/s3prl, which may read log-mel
//! frames: `Config` and `Distiller` of what the runner saves.
use super::StoredModel;
use super::encoder;
use super::fairseq::stated_normalize;
use super::keys::Keys;
use super::names;
use crate::data::read_files::ReadFiles;
use crate::data::torch::{TorchFile, read_npy};
use crate::model::normalization::Normalization;
use crate::model::stored::{Stored, StoredTensor, described};
use crate::model::{Architecture, Cmvn, FAIRSEQ_EPSILON, FrontEnd};
use std::collections::BTreeMap;
use std::path::Path;

pub(super) const FORMAT: &str = "s3prl-distiller";
/// The file of the fork beside a checkpoint: mean and standard deviation of each bin.
pub(super) const STATISTICS: &str = "global_cmvn.npy";
/// Heads, which predict the teacher's layers and clusters.
const HEADS: &[&str] = &[
    "output_layer.",
    "final_proj.",
    "frontend_proj.",
    "task_embedding.",
];
/// The convolution over log-mel frames.
const FBANK: &str = "feature_extractor.subsample.conv_layers.";
/// The encoder once more, as the fork's front end holds it.
const DOUBLED: &str = "feature_extractor.encoder.";

/// Reads a file and, for log-mel frames, the statistics beside it.
pub(super) fn distiller(file: TorchFile, read_files: &mut ReadFiles) -> crate::Result<StoredModel> {
    let path = file.path().to_owned();
    let mut opened = read(file).map_err(|error| crate::data::error::error_at(&path, error))?;
    if opened.architecture.is_fbank() {
        let statistics = path.with_file_name(STATISTICS);
        if statistics.exists() {
            let bins = opened.architecture.fbank_bins;
            opened.cmvn = Some(read_statistics(&statistics, bins, read_files)?);
        }
    }
    Ok(opened)
}

fn read(file: TorchFile) -> Result<StoredModel, String> {
    let root = file.root();
    let state = root.get("Distiller").ok_or("has no `Distiller`")?;
    let config = root.get("Config").or_else(|| root.get("Upstream_Config"));
    let config = config.ok_or("has no `Config`, which describes its model")?;
    let keys = config
        .get("distiller")
        .ok_or("its `Config` has no part `distiller`")?;
    let keys = Keys::of(keys.json()?, "`Config.distiller`")?;
    let normalize = stated_normalize(config.get("task"))?;
    let tasks = keys.text("task_emb_type", "expand-last")?;
    if ["add", "concat"].contains(&tasks.as_str()) {
        return Err(format!(
            "its `task_emb_type` is \"{tasks}\": what it joins to the frames in front of the encoder is \
             not known to this version; \"expand-last\" is"
        ));
    }
    if keys.text("attention_type", "original")? != "original" {
        keys.only("attention_type", "original")?;
    }
    let kept = described(state).into_iter();
    let kept = kept.filter(|(name, _)| !name.starts_with(DOUBLED));
    let tensors: BTreeMap<String, StoredTensor> = kept.collect();
    let is_fbank = tensors.keys().any(|name| name.starts_with(FBANK));
    let architecture_of = |tensors: &BTreeMap<String, StoredTensor>| {
        let architecture = encoder::architecture(&keys, "extractor_conv_feature_layers", tensors)?;
        if keys.text("extractor_mode", "default")? != "default" {
            return Err(
                "its `extractor_mode` is not \"default\"; the distiller's encoder then \
                        shares one positional convolution five times, which this version does \
                        not know"
                    .into(),
            );
        }
        Ok::<_, String>(Architecture {
            // The distiller's own defaults.
            activation_dropout: keys.number("activation_dropout", 0.1)?,
            num_hidden_layers: keys.size("encoder_layers", 1)?,
            feat_proj_dropout: 0.0,
            ..architecture
        })
    };
    let (architecture, tensors) = if is_fbank {
        let tensors = fbank_names(encoder::renamed(tensors, ""))?;
        let kernel = kernel(&keys)?;
        let architecture = Architecture {
            front_end: FrontEnd::Fbank,
            fbank_conv_kernel: vec![kernel],
            // The front end ends with a linear map, not with that of convolutions.
            feature_projection: true,
            feat_proj_layer_norm: true,
            ..architecture_of(&tensors)?
        };
        (architecture, tensors)
    } else {
        let prefix = encoder::prefix(&tensors, names::FAIRSEQ_ANCHOR)?;
        let tensors = encoder::renamed(tensors, &prefix);
        (architecture_of(&tensors)?, tensors)
    };
    Ok(StoredModel {
        format: FORMAT,
        normalization: Normalization::of_checkpoint(normalize.unwrap_or(false) && !is_fbank),
        epsilon: FAIRSEQ_EPSILON,
        architecture,
        stored: encoder::without(Stored::of_torch(file, tensors), HEADS),
        cmvn: None,
        symbols: None,
    })
}

/// Returns the kernel of the one convolution over log-mel frames.
fn kernel(keys: &Keys) -> Result<usize, String> {
    let text = match keys.get("conv_kernel_sizes") {
        Some(value) => value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
        None => "5".into(),
    };
    text.trim().parse().map_err(|_| {
        format!(
            "its `conv_kernel_sizes` is \"{text}\"; this version knows one convolution, whose \
             frames lie as HuBERT's"
        )
    })
}

/// Renames the tensors of the front end over log-mel frames.
fn fbank_names(
    tensors: BTreeMap<String, StoredTensor>,
) -> Result<BTreeMap<String, StoredTensor>, String> {
    let mut renamed = BTreeMap::new();
    for (name, tensor) in tensors {
        let convolution = name
            .strip_prefix(FBANK)
            .and_then(|rest| rest.strip_prefix("0."));
        let linear = name.strip_prefix("feature_extractor.linear.");
        let name = match (convolution, linear) {
            (Some(end), _) => format!("feature_extractor.fbank_conv_layers.0.conv.{end}"),
            (_, Some(end)) => format!("feature_projection.fbank_projection.{end}"),
            _ => name,
        };
        renamed.insert(name, tensor);
    }
    Ok(renamed)
}

fn read_statistics(path: &Path, bins: usize, read_files: &mut ReadFiles) -> crate::Result<Cmvn> {
    read_npy(path, read_files, |value| {
        let numbers = |key: &str| {
            let numbers = value.get(key).and_then(|value| value.numbers());
            let numbers = numbers.filter(|numbers| numbers.len() == bins);
            numbers.ok_or_else(|| format!("has no `{key}` of {bins} numbers, one a bin"))
        };
        let statistics = Cmvn {
            mean: numbers("mean")?,
            std: numbers("std")?,
        };
        statistics.validate()?;
        Ok(statistics)
    })
}
