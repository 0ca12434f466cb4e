//! A checkpoint as DPHuBERT's: `state_dict` in torchaudio's names, and `config`, the arguments of
//! its builder `wav2vec2_model`, which torchaudio's own does not take for each layer.
//!
//! The builder's feature projection normalises over the channels it has, so closed channels of the
//! last convolution come back, with a `dummy_weight` of 0. A sub-layer of which only the bias is
//! left becomes one with a single unit of zero weight; so does the first attention of a WavLM,
//! which holds the table of position biases.
mod pickle;
mod zip;

use super::dense::{add_projection, restore_channels};
use super::draft::{Draft, Values, first};
use super::{beyond_standard_layers, compare};
use crate::Result;
use crate::data::file;
use crate::model::{DUMMY_WEIGHT, ExtractNorm, MASK_EMBEDDING, Model, UnknownKeys};
use pickle::Pickle;
use std::collections::BTreeMap;
use std::path::Path;

/// The epsilon of its norms.
const EPSILON: f64 = 1e-5;

/// Writes a checkpoint, and tells `say` what it leaves out.
pub(super) fn write(model: &Model, out: &Path, mut say: impl FnMut(&str)) -> Result<String> {
    let draft = torchaudio_form(model)?;
    if draft.architecture.has_mask_embedding() {
        say("torchaudio's models have no mask embedding; it is left out");
    }
    let tensors: Vec<(String, Values)> = draft
        .tensors
        .iter()
        .filter(|(name, _)| *name != MASK_EMBEDDING)
        .map(|(name, values)| (torchaudio_name(name), values.clone()))
        .collect();
    let config = config(&draft, model.normalize);
    let pickle = pickle::checkpoint(&tensors, &config);
    file::write_atomic_with(out, |file| zip::write(file, &pickle, &tensors))?;
    compare::describe_difference(model, &Model::load(out, UnknownKeys::REFUSE)?)
}

/// Returns the model in modules that the builder has.
fn torchaudio_form(model: &Model) -> Result<Draft> {
    let a = &model.architecture;
    let unlike = beyond_standard_layers(a)
        .or((a.layer_norm_eps != EPSILON).then_some("`layer_norm_eps` is not 1e-5"))
        .or((!a.feat_proj_layer_norm).then_some("its feature projection has no norm"));
    if let Some(why) = unlike {
        let message = format!("DPHuBERT's builder cannot express this model: {why}");
        return Err(format!("{message}; use --format hf-code or s3prl").into());
    }
    let mut draft = Draft::new(model);
    add_projection(&mut draft);
    let open = draft.architecture.channels();
    restore_channels(&mut draft)?;
    add_dummy_weight(&mut draft, open);
    fill_empty_sub_layers(&mut draft);
    Ok(draft)
}

/// Adds factors on the channels of the last convolution: 1, and 0 where a channel was closed.
fn add_dummy_weight(draft: &mut Draft, open: usize) {
    if draft.architecture.feature_dummy_weight {
        return;
    }
    draft.architecture.feature_dummy_weight = true;
    let channels = draft.architecture.channels();
    let mut factors = vec![1.0; open];
    factors.resize(channels, 0.0);
    draft.set(DUMMY_WEIGHT, &[channels], factors);
}

/// Gives a unit of zero weight to sub-layers that have none and yet must be there.
fn fill_empty_sub_layers(draft: &mut Draft) {
    let before = draft.architecture.clone();
    let keeps_bias = before.encoder_keeps_bias;
    draft.architecture.encoder_keeps_bias = false;
    for layer in 0..before.num_hidden_layers {
        let holds_table = layer == 0 && before.has_position_bias();
        if before.heads(layer) == 0 && (keeps_bias || holds_table) {
            let a = &mut draft.architecture;
            if before.has_position_bias() {
                let heads_before = (0..before.num_hidden_layers).map(|l| before.remaining_heads(l));
                let heads = a
                    .encoder_remaining_heads
                    .get_or_insert_with(|| heads_before.collect());
                heads[layer] = vec![0];
            } else {
                let heads_before = (0..before.num_hidden_layers).map(|l| before.heads(l));
                a.encoder_head_dim = Some(before.head_dim());
                let heads = a
                    .encoder_num_heads
                    .get_or_insert_with(|| heads_before.collect());
                heads[layer] = 1;
            }
        }
        if before.ffn(layer) == 0 && keeps_bias {
            draft.architecture.keep_ffn(layer, 1);
        }
    }
    for (name, shape) in draft.architecture.tensors() {
        if !draft.tensors.contains_key(&name) {
            draft.enlarge(&name, &shape, &[first(0)]);
        }
    }
}

/// Returns torchaudio's name of a tensor.
fn torchaudio_name(name: &str) -> String {
    if let Some(rest) = name.strip_prefix("encoder.") {
        return format!("encoder.transformer.{rest}");
    }
    match name.strip_prefix("feature_projection.") {
        Some(_) => format!("encoder.{name}"),
        None => name.to_owned(),
    }
}

/// Returns the arguments of the builder.
fn config(draft: &Draft, normalize: bool) -> BTreeMap<&'static str, Pickle> {
    let a = &draft.architecture;
    let layers = 0..a.num_hidden_layers;
    let mode = match a.feat_extract_norm {
        ExtractNorm::Group => "group_norm",
        ExtractNorm::Layer => "layer_norm",
    };
    let shapes = (0..a.conv_dim.len()).map(|i| {
        let shape = [a.conv_dim[i], a.conv_kernel[i], a.conv_stride[i]];
        Pickle::Tuple(shape.into_iter().map(Pickle::int).collect())
    });
    let per_layer =
        |value: &dyn Fn(usize) -> Pickle| Pickle::List(layers.clone().map(value).collect());
    let mut config = BTreeMap::from([
        ("extractor_mode", Pickle::Text(mode.to_owned())),
        (
            "extractor_conv_layer_config",
            Pickle::List(shapes.collect()),
        ),
        ("extractor_conv_bias", Pickle::Bool(a.conv_bias)),
        ("encoder_embed_dim", Pickle::int(a.hidden_size)),
        (
            "encoder_projection_dropout",
            Pickle::Float(a.feat_proj_dropout),
        ),
        (
            "encoder_pos_conv_kernel",
            Pickle::int(a.num_conv_pos_embeddings),
        ),
        (
            "encoder_pos_conv_groups",
            Pickle::int(a.num_conv_pos_embedding_groups),
        ),
        ("encoder_num_layers", Pickle::int(a.num_hidden_layers)),
        (
            "encoder_use_attention",
            per_layer(&|l| Pickle::Bool(a.heads(l) > 0)),
        ),
        (
            "encoder_use_feed_forward",
            per_layer(&|l| Pickle::Bool(a.ffn(l) > 0)),
        ),
        (
            "encoder_attention_dropout",
            Pickle::Float(a.attention_dropout),
        ),
        (
            "encoder_ff_interm_features",
            per_layer(&|l| Pickle::int(a.ffn(l))),
        ),
        (
            "encoder_ff_interm_dropout",
            Pickle::Float(a.activation_dropout),
        ),
        ("encoder_dropout", Pickle::Float(a.hidden_dropout)),
        (
            "encoder_layer_norm_first",
            Pickle::Bool(a.do_stable_layer_norm),
        ),
        ("encoder_layer_drop", Pickle::Float(0.0)),
        ("aux_num_out", Pickle::None),
        ("normalize_waveform", Pickle::Bool(normalize)),
    ]);
    if a.has_position_bias() {
        let total_heads = Pickle::int(a.num_attention_heads);
        let remaining = |l: usize| {
            let heads = a.remaining_heads(l).into_iter();
            Pickle::List(heads.map(Pickle::int).collect())
        };
        config.insert(
            "encoder_total_num_heads",
            per_layer(&|_| total_heads.clone()),
        );
        config.insert("encoder_remaining_heads", per_layer(&remaining));
        config.insert("encoder_num_buckets", Pickle::int(a.num_buckets));
        config.insert("encoder_max_distance", Pickle::int(a.max_bucket_distance));
    } else {
        config.insert("encoder_num_heads", per_layer(&|l| Pickle::int(a.heads(l))));
        config.insert("encoder_head_dim", Pickle::int(a.head_dim()));
    }
    for part in [
        "extractor_prune_conv_channels",
        "encoder_prune_attention_heads",
        "encoder_prune_attention_layer",
        "encoder_prune_feed_forward_intermediate",
        "encoder_prune_feed_forward_layer",
    ] {
        config.insert(part, Pickle::Bool(false));
    }
    config
}
