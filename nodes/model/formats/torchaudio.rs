//! Models of torchaudio, DPHuBERT and DiariZen, saved with the arguments that build them: a file with
//! `config` and `state_dict`, or a folder whose config.json holds the arguments.
use super::encoder::{prefix, without};
use super::keys::Keys;
use super::names;
use super::python_list::convolutions;
use super::{StoredModel, TORCHAUDIO_EPSILON};
use crate::data::torch::TorchFile;
use crate::model::normalization::Normalization;
use crate::model::stored::older_name;
use crate::model::stored::{Stored, StoredTensor, described};
use crate::model::{Architecture, DUMMY_WEIGHT, ExtractNorm};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// The argument that no other program's configuration has.
const CONVOLUTIONS: &str = "extractor_conv_layer_config";

/// Reads a file that holds both.
pub(super) fn torchaudio(file: TorchFile) -> Result<StoredModel, String> {
    let root = file.root();
    let config = root.get("config").ok_or("has no `config`")?.json()?;
    let state = root.get("state_dict").ok_or("has no `state_dict`")?;
    let tensors = described(state);
    built(config, Stored::of_torch(file, tensors))
}

/// Whether the config.json of a folder holds the arguments that build a model, as DiariZen keeps them
/// of its WavLMs.
pub(in crate::model) fn is_builder_config(config: &Json) -> bool {
    config.get(CONVOLUTIONS).is_some() && config.get("model_type").is_none()
}

/// Reads the model that `config` builds from its tensors. What precedes the names of the tensors, as
/// `wavlm_model.` in a model of DiariZen, is left out, and so are tensors that are not below it.
pub(in crate::model) fn built(config: Json, stored: Stored) -> Result<StoredModel, String> {
    let keys = Keys::of(config, "`config`")?;
    refuse_gates(stored.names())?;
    let prefix = prefix(&stored.tensors, names::TORCHAUDIO_ANCHOR)?;
    let stored = stored.split(|name, tensor| match name.strip_prefix(&prefix) {
        Some(name) => split_projections(names::from_torchaudio(&older_name(name)), tensor),
        None => vec![],
    });
    let architecture = architecture(&keys, &stored.tensors)?;
    Ok(StoredModel {
        format: "torchaudio",
        normalization: match keys.get("normalize_waveform") {
            Some(_) => Normalization::of_checkpoint(keys.flag("normalize_waveform", false)?),
            // Of DPHuBERT's builder; torchaudio's own has no such argument.
            None => Normalization::unstated(&architecture),
        },
        epsilon: TORCHAUDIO_EPSILON,
        architecture,
        stored: without(stored, &["aux.", "mask_generator."]),
        cmvn: None,
        symbols: None,
    })
}

/// Refuses a model that is being pruned.
///
/// # Errors
/// A name is that of a gate.
pub(super) fn refuse_gates<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    match names.find(|name| name.contains("hard_concrete")) {
        None => Ok(()),
        Some(gate) => Err(format!(
            "still has the gates that DPHuBERT trains, such as `{gate}`; cut them with its \
             prune.py, which writes a smaller model"
        )),
    }
}

/// Reads the architecture that a builder makes of its arguments.
pub(super) fn architecture(
    keys: &Keys,
    tensors: &BTreeMap<String, StoredTensor>,
) -> Result<Architecture, String> {
    let convolutions = convolutions(keys, CONVOLUTIONS)?;
    let layers = keys.size("encoder_num_layers", 12)?;
    let width = keys.size("encoder_embed_dim", 768)?;
    let used = |key: &str| match keys.get(key) {
        Some(_) => keys.by_layer(key, layers),
        None => Ok(vec![1; layers.min(1024)]),
    };
    let inner = keys.by_layer("encoder_ff_interm_features", layers)?;
    let feeds = used("encoder_use_feed_forward")?;
    let inner: Vec<usize> = inner.iter().zip(feeds).map(|(n, used)| n * used).collect();
    let base = Architecture {
        model_type: "hubert".into(),
        conv_dim: convolutions.channels,
        conv_kernel: convolutions.kernels,
        conv_stride: convolutions.strides,
        conv_bias: keys.flag("extractor_conv_bias", false)?,
        feat_extract_norm: match keys.text("extractor_mode", "group_norm")?.as_str() {
            "group_norm" => ExtractNorm::Group,
            "layer_norm" => ExtractNorm::Layer,
            other => {
                return Err(format!(
                    "its `extractor_mode` is \"{other}\"; this version knows \"group_norm\" and \
                     \"layer_norm\""
                ));
            }
        },
        hidden_size: width,
        num_hidden_layers: layers,
        intermediate_size: inner.iter().copied().max().unwrap_or(1).max(1),
        num_conv_pos_embeddings: keys.size("encoder_pos_conv_kernel", 128)?,
        num_conv_pos_embedding_groups: keys.size("encoder_pos_conv_groups", 16)?,
        do_stable_layer_norm: keys.flag("encoder_layer_norm_first", false)?,
        feat_proj_dropout: keys.number("encoder_projection_dropout", 0.1)?,
        hidden_dropout: keys.number("encoder_dropout", 0.1)?,
        attention_dropout: keys.number("encoder_attention_dropout", 0.1)?,
        activation_dropout: keys.number("encoder_ff_interm_dropout", 0.0)?,
        mask_time_prob: 0.0,
        feature_dummy_weight: tensors.contains_key(DUMMY_WEIGHT),
        encoder_ff_interm_features: Some(inner),
        ..Architecture::default()
    };
    let attends = used("encoder_use_attention")?;
    let is_wavlm =
        keys.get("encoder_num_buckets").is_some() || keys.get("encoder_remaining_heads").is_some();
    let whole = if is_wavlm {
        wavlm(keys, base, &attends)?
    } else {
        hubert(keys, base, &attends)?
    };
    whole.validate()?;
    Ok(whole.without_plain_lists())
}

/// Adds HuBERT's heads.
fn hubert(keys: &Keys, base: Architecture, attends: &[usize]) -> Result<Architecture, String> {
    let layers = base.num_hidden_layers;
    let heads = keys.by_layer("encoder_num_heads", layers)?;
    let most = heads.iter().copied().max().unwrap_or(1).max(1);
    let is_even = base.hidden_size.is_multiple_of(most);
    // DPHuBERT states it; torchaudio's own heads fill the width.
    let head_dim = match keys.get("encoder_head_dim") {
        Some(_) => keys.size("encoder_head_dim", 64)?,
        None if is_even
            && heads.iter().all(|n| *n == most)
            && attends.iter().all(|used| *used == 1) =>
        {
            base.hidden_size / most
        }
        None => 64,
    };
    if head_dim == 0 {
        return Err("its `encoder_head_dim` is 0".into());
    }
    let heads = heads.iter().zip(attends).map(|(heads, used)| heads * used);
    Ok(Architecture {
        num_attention_heads: (base.hidden_size / head_dim).max(1),
        encoder_num_heads: Some(heads.collect()),
        encoder_head_dim: Some(head_dim),
        ..base
    })
}

/// Adds WavLM's heads and positions.
fn wavlm(keys: &Keys, base: Architecture, attends: &[usize]) -> Result<Architecture, String> {
    let layers = base.num_hidden_layers;
    let total_key = match keys.get("encoder_total_num_heads") {
        Some(_) => "encoder_total_num_heads",
        None => "encoder_num_heads",
    };
    let total = keys.by_layer(total_key, layers)?;
    let heads = total.iter().copied().max().unwrap_or(1);
    let remaining = match keys.get("encoder_remaining_heads") {
        Some(lists) => serde_json::from_value(lists.clone())
            .map_err(|error| format!("its `encoder_remaining_heads`: {error}"))?,
        None => vec![(0..heads.min(1 << 16)).collect::<Vec<usize>>(); layers.min(1024)],
    };
    let kept = remaining.into_iter().zip(attends);
    let kept = kept.map(|(heads, used)| if *used == 1 { heads } else { vec![] });
    Ok(Architecture {
        model_type: "wavlm".into(),
        num_attention_heads: heads.max(1),
        num_buckets: keys.size("encoder_num_buckets", 320)?,
        max_bucket_distance: keys.size("encoder_max_distance", 800)?,
        encoder_remaining_heads: Some(kept.collect()),
        ..base
    })
}

/// Splits torchaudio's one projection of queries, keys and values into three.
fn split_projections(name: String, tensor: StoredTensor) -> Vec<(String, StoredTensor)> {
    let Some((before, end)) = name.split_once(".attention.attention.") else {
        return vec![(name, tensor)];
    };
    let Some(kind) = end.strip_prefix("in_proj_") else {
        return vec![(format!("{before}.attention.{end}"), tensor)];
    };
    let rows = tensor.shape.first().copied().unwrap_or(0) / 3;
    let parts = ["q", "k", "v"].into_iter().enumerate();
    let parts = parts.map(|(i, part)| {
        let name = format!("{before}.attention.{part}_proj.{kind}");
        (name, tensor.rows(i * rows, rows))
    });
    parts.collect()
}
