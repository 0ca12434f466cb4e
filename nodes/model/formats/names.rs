//! Names of tensors in other programs, and the Hugging Face names of the same tensors.

/// A tensor that every encoder of fairseq's form over waveforms has.
pub(super) const FAIRSEQ_ANCHOR: &str = "feature_extractor.conv_layers.0.0.weight";

/// A tensor that every encoder of torchaudio's form has.
pub(super) const TORCHAUDIO_ANCHOR: &str = "feature_extractor.conv_layers.0.conv.weight";

/// Beginnings of names in fairseq and of the same names in transformers.
const FAIRSEQ: &[(&str, &str)] = &[
    ("layer_norm.", "feature_projection.layer_norm."),
    ("post_extract_proj.", "feature_projection.projection."),
    ("mask_emb", "masked_spec_embed"),
    ("encoder.pos_conv.0.", "encoder.pos_conv_embed.conv."),
];

/// The same within a layer.
const FAIRSEQ_LAYER: &[(&str, &str)] = &[
    (
        "self_attn.relative_attention_bias.",
        "attention.rel_attn_embed.",
    ),
    ("self_attn.grep_linear.", "attention.gru_rel_pos_linear."),
    ("self_attn.grep_a", "attention.gru_rel_pos_const"),
    ("self_attn.", "attention."),
    ("self_attn_layer_norm.", "layer_norm."),
    ("fc1.", "feed_forward.intermediate_dense."),
    ("fc2.", "feed_forward.output_dense."),
    ("final_layer_norm.", "final_layer_norm."),
];

/// Returns the Hugging Face name of a tensor of fairseq, without what stands before the encoder's
/// names. Names that it does not know stay.
pub(super) fn from_fairseq(name: &str) -> String {
    if let Some(rest) = name.strip_prefix("feature_extractor.conv_layers.") {
        return convolution(rest).unwrap_or_else(|| name.to_owned());
    }
    if let Some((layer, rest)) = in_layer(name) {
        let renamed = replaced(rest, FAIRSEQ_LAYER);
        return format!("encoder.layers.{layer}.{renamed}");
    }
    if let Some(renamed) = stacked_positions(name) {
        return renamed;
    }
    replaced(name, FAIRSEQ)
}

/// Returns the Hugging Face name of a tensor of torchaudio or DPHuBERT.
pub(super) fn from_torchaudio(name: &str) -> String {
    replaced(
        name,
        &[
            ("encoder.feature_projection.", "feature_projection."),
            ("encoder.transformer.", "encoder."),
        ],
    )
}

/// Splits `encoder.layers.3.fc1.bias` into 3 and `fc1.bias`.
fn in_layer(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("encoder.layers.")?.split_once('.')
}

/// Renames `N.0.weight`, a convolution, and `N.2.weight` or `N.2.1.weight`, its norm.
fn convolution(rest: &str) -> Option<String> {
    let (number, rest) = rest.split_once('.')?;
    let prefix = format!("feature_extractor.conv_layers.{number}.");
    let norm = || rest.strip_prefix("2.1.").or(rest.strip_prefix("2."));
    match rest.strip_prefix("0.") {
        Some(end) => Some(format!("{prefix}conv.{end}")),
        None => norm().map(|end| format!("{prefix}layer_norm.{end}")),
    }
}

/// Renames `encoder.pos_conv.N.0.bias`, one of data2vec's stacked convolutions.
fn stacked_positions(name: &str) -> Option<String> {
    let (number, end) = name.strip_prefix("encoder.pos_conv.")?.split_once(".0.")?;
    number
        .parse::<usize>()
        .is_ok()
        .then(|| format!("encoder.pos_conv_embed.layers.{number}.conv.{end}"))
}

fn replaced(name: &str, table: &[(&str, &str)]) -> String {
    let mut table = table.iter();
    let found = table.find_map(|(from, to)| Some((to, name.strip_prefix(from)?)));
    found.map_or_else(|| name.to_owned(), |(to, rest)| format!("{to}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairseq_has_other_names() {
        for (theirs, ours) in [
            (
                "feature_extractor.conv_layers.6.0.weight",
                "feature_extractor.conv_layers.6.conv.weight",
            ),
            (
                "feature_extractor.conv_layers.0.2.bias",
                "feature_extractor.conv_layers.0.layer_norm.bias",
            ),
            (
                "feature_extractor.conv_layers.3.2.1.weight",
                "feature_extractor.conv_layers.3.layer_norm.weight",
            ),
            ("layer_norm.weight", "feature_projection.layer_norm.weight"),
            ("encoder.layer_norm.weight", "encoder.layer_norm.weight"),
            (
                "encoder.pos_conv.0.weight_g",
                "encoder.pos_conv_embed.conv.weight_g",
            ),
            (
                "encoder.pos_conv.4.0.bias",
                "encoder.pos_conv_embed.layers.4.conv.bias",
            ),
            (
                "encoder.layers.11.self_attn.grep_a",
                "encoder.layers.11.attention.gru_rel_pos_const",
            ),
            (
                "encoder.layers.0.self_attn_layer_norm.bias",
                "encoder.layers.0.layer_norm.bias",
            ),
            ("final_proj.weight", "final_proj.weight"),
        ] {
            assert_eq!(from_fairseq(theirs), ours);
        }
    }
}
