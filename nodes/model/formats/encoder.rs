//! Encoders as fairseq and the code that descends from it configure them.
use super::keys::Keys;
use super::names;
use super::python_list::convolutions;
use crate::model::stored::older_name;
use crate::model::stored::{Stored, StoredTensor};
use crate::model::{Architecture, ExtractNorm, MASK_EMBEDDING};
use std::collections::BTreeMap;

/// Tensors whose presence decides a part of the architecture, by their names in transformers.
const PROJECTION: &str = "feature_projection.projection.weight";
const PROJECTION_NORM: &str = "feature_projection.layer_norm.weight";

/// Renames tensors below `prefix` to Hugging Face names, and leaves the others out.
pub(super) fn renamed(
    tensors: BTreeMap<String, StoredTensor>,
    prefix: &str,
) -> BTreeMap<String, StoredTensor> {
    let tensors = tensors.into_iter();
    let renamed = tensors.filter_map(|(name, tensor)| {
        let name = older_name(name.strip_prefix(prefix)?);
        Some((names::from_fairseq(&name), tensor))
    });
    renamed.collect()
}

/// Returns what stands before the names of the encoder's tensors, such as
/// `w2v_encoder.w2v_model.`: before `anchor`, a tensor that every encoder has.
///
/// # Errors
/// There is no encoder, or there are several.
pub(super) fn prefix(
    tensors: &BTreeMap<String, StoredTensor>,
    anchor: &str,
) -> Result<String, String> {
    let mut prefixes = tensors.keys().filter_map(|name| {
        let before = name.strip_suffix(anchor)?;
        (before.is_empty() || before.ends_with('.')).then_some(before)
    });
    match (prefixes.next(), prefixes.next()) {
        (Some(prefix), None) => Ok(prefix.to_owned()),
        (Some(one), Some(other)) => Err(format!(
            "holds several encoders, one below `{one}` and one below `{other}`; keep one of them"
        )),
        (None, _) => Err(format!(
            "holds no encoder over waveforms: no tensor is called `{anchor}`"
        )),
    }
}

/// Reads an architecture from fairseq's keys, and from which tensors there are.
pub(super) fn architecture(
    keys: &Keys,
    convolutions_key: &str,
    tensors: &BTreeMap<String, StoredTensor>,
) -> Result<Architecture, String> {
    keys.only("activation_fn", "gelu")?;
    keys.only("layer_type", "transformer")?;
    if keys.flag("quantize_input", false)? {
        return Err(
            "quantises what its encoder reads (`quantize_input`), which this version does not"
                .into(),
        );
    }
    // Several positional convolutions share the width of one (fairseq's `make_conv_pos`).
    let depth = keys.size("pos_conv_depth", 1)?.max(1);
    let taps = keys.size("conv_pos", 128)?;
    let taps = if depth > 1 {
        (taps / depth).max(3)
    } else {
        taps
    };
    if keys.flag("conv_pos_batch_norm", false)? {
        return Err(
            "has a batch norm in its positional convolution, which this version does not \
                    know"
                .into(),
        );
    }
    let convolutions = convolutions(keys, convolutions_key)?;
    let has = |name: &str| tensors.contains_key(name);
    let base = Architecture::default();
    let masked = keys.number("mask_prob", base.mask_time_prob)?;
    Ok(Architecture {
        conv_dim: convolutions.channels,
        conv_kernel: convolutions.kernels,
        conv_stride: convolutions.strides,
        conv_bias: keys.flag("conv_bias", false)?,
        feat_extract_norm: extractor_norm(keys)?,
        feat_proj_layer_norm: has(PROJECTION_NORM),
        feature_projection: has(PROJECTION),
        hidden_size: keys.size("encoder_embed_dim", 768)?,
        num_hidden_layers: keys.size("encoder_layers", 12)?,
        num_attention_heads: keys.size("encoder_attention_heads", 12)?,
        intermediate_size: keys.size("encoder_ffn_embed_dim", 3072)?,
        num_conv_pos_embeddings: taps,
        conv_pos_depth: depth,
        num_conv_pos_embedding_groups: keys.size("conv_pos_groups", 16)?,
        do_stable_layer_norm: keys.flag("layer_norm_first", false)?,
        feat_proj_dropout: keys.number("dropout_input", 0.0)?,
        hidden_dropout: keys.number("dropout", 0.1)?,
        attention_dropout: keys.number("attention_dropout", 0.1)?,
        activation_dropout: keys.number("activation_dropout", 0.0)?,
        mask_time_prob: match has(MASK_EMBEDDING) {
            true if masked > 0.0 => masked,
            true => base.mask_time_prob,
            false => 0.0,
        },
        ..base
    })
}

fn extractor_norm(keys: &Keys) -> Result<ExtractNorm, String> {
    match keys.text("extractor_mode", "default")?.as_str() {
        "default" => Ok(ExtractNorm::Group),
        "layer_norm" => Ok(ExtractNorm::Layer),
        other => Err(format!(
            "its `extractor_mode` is \"{other}\"; this version knows \"default\" and \"layer_norm\""
        )),
    }
}

/// Leaves out the dotted beginnings of heads that no hidden state depends on.
pub(super) fn without(stored: Stored, heads: &[&str]) -> Stored {
    stored.rename(|name| {
        let is_head = heads.iter().any(|head| name.starts_with(head));
        (!is_head).then(|| name.to_owned())
    })
}
