//! Checks that an architecture can be built and counted: no count overflows, no shape is empty.
mod encoder;
#[cfg(test)]
mod tests;

use super::Architecture;
use super::architecture::{DATA2VEC, WAVLM};
use super::whisper::WHISPER;

/// Values of `model_type`, without `pruned_`.
const FAMILIES: &[&str] = &["hubert", "wav2vec2", WAVLM, DATA2VEC, WHISPER];
/// Values of `model_type` of other models of speech, and the family that is nearest.
const OTHERS: &[(&str, &str)] = &[
    ("unispeech-sat", "wav2vec2"),
    ("unispeech", "wav2vec2"),
    ("wav2vec2-bert", "wav2vec2"),
    ("wav2vec2-conformer", "wav2vec2"),
    ("sew", "wav2vec2"),
    ("sew-d", "wav2vec2"),
    ("data2vec", DATA2VEC),
    ("speech_to_text", WHISPER),
    ("moonshine", WHISPER),
];
/// The largest width, kernel or stride.
const WIDEST: usize = 1 << 16;
/// The most convolutions or layers.
const LONGEST: usize = 1024;

/// A sentence that names the key and what it must be.
type Checked = Result<(), String>;

/// Fails with the message unless the condition holds.
fn ensure(condition: bool, message: impl Into<String>) -> Checked {
    if condition {
        Ok(())
    } else {
        Err(message.into())
    }
}

/// Returns words for a message about another model; none of one that is not known to be like another.
fn nearest_family(model_type: &str) -> String {
    let nearest = OTHERS.iter().find(|(other, _)| *other == model_type);
    nearest.map_or_else(String::new, |(_, family)| {
        format!("; of these, {family} is the most similar")
    })
}

impl Architecture {
    /// Returns the first problem as a sentence.
    pub(super) fn validate(&self) -> Checked {
        ensure(
            FAMILIES.contains(&self.family()),
            format!(
                "`model_type` is \"{}\"; this version knows hubert, wav2vec2, wavlm and their \
                 pruned and compact forms, and data2vec-audio and whisper as teachers{}",
                self.model_type,
                nearest_family(&self.model_type)
            ),
        )?;
        self.validate_convolutions()?;
        self.validate_sizes()?;
        self.validate_encoder()?;
        self.validate_front_end()?;
        self.validate_constants()
    }

    fn validate_front_end(&self) -> Checked {
        ensure(
            self.is_whisper() == (self.model_type == WHISPER),
            "`front_end` \"whisper\" is of the `model_type` \"whisper\", and of no other",
        )?;
        if self.is_whisper() {
            return ensure(
                (4..=256).contains(&self.fbank_bins) && self.conv_dim.len() == 2,
                "`num_mel_bins` must be from 4 to 256",
            );
        }
        if !self.is_fbank() {
            return self.validate_projection();
        }
        ensure(
            (4..=256).contains(&self.fbank_bins),
            "`fbank_bins` must be from 4 to 256",
        )?;
        let odd = |kernel: &usize| kernel % 2 == 1 && *kernel <= WIDEST;
        ensure(
            self.fbank_conv_kernel.len() == 1 && self.fbank_conv_kernel.iter().all(odd),
            "`fbank_conv_kernel` must be one odd number, so that frames have 20 ms and lie as \
             HuBERT's",
        )?;
        ensure(
            self.feature_norm_width.is_none() && !self.feature_dummy_weight,
            "`feature_norm_width` and `feature_dummy_weight` are of convolutions over samples, but \
             `front_end` is \"fbank\"",
        )
    }

    fn validate_convolutions(&self) -> Checked {
        for (name, list) in [
            ("conv_dim", &self.conv_dim),
            ("conv_kernel", &self.conv_kernel),
            ("conv_stride", &self.conv_stride),
        ] {
            ensure(
                list.len() == self.conv_dim.len() && (1..=LONGEST).contains(&list.len()),
                format!("`{name}` needs as many numbers as `conv_dim`, 1 to {LONGEST}"),
            )?;
            ensure(
                list.iter().all(|n| (1..=WIDEST).contains(n)),
                format!("`{name}` holds a number that is not from 1 to {WIDEST}"),
            )?;
        }
        Ok(())
    }

    fn validate_sizes(&self) -> Checked {
        let groups = self.num_conv_pos_embedding_groups;
        for (name, n) in [
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("num_conv_pos_embeddings", self.num_conv_pos_embeddings),
            ("num_conv_pos_embedding_groups", groups),
            ("encoder_head_dim", self.encoder_head_dim.unwrap_or(1)),
            ("feature_norm_width", self.feature_norm_width.unwrap_or(1)),
            ("final_proj_size", self.final_proj_size.unwrap_or(1)),
            ("label_embeddings", self.label_embeddings.unwrap_or(1)),
        ] {
            ensure(
                (1..=WIDEST).contains(&n),
                format!("`{name}` must be from 1 to {WIDEST}"),
            )?;
        }
        ensure(
            (1..=16).contains(&self.conv_pos_depth),
            "`conv_pos_depth` must be from 1 to 16",
        )?;
        ensure(
            (1..=16).contains(&self.time_reduction),
            "`time_reduction` must be from 1 to 16",
        )?;
        ensure(
            self.num_hidden_layers <= LONGEST,
            format!("`num_hidden_layers` must be at most {LONGEST}"),
        )
    }

    fn validate_projection(&self) -> Checked {
        let norm_width = self.feature_norm_width;
        let as_wide = self.is_lstm() || self.channels() == self.hidden_size;
        ensure(
            self.feature_projection || as_wide && norm_width.is_none(),
            "`feature_projection` is false, so the last of `conv_dim` must be `hidden_size`, \
             unpruned",
        )?;
        ensure(
            norm_width.is_none() || self.feat_proj_layer_norm,
            "`feature_norm_width` says how a norm counts, but `feat_proj_layer_norm` is false",
        )?;
        ensure(
            norm_width.is_none_or(|width| width >= self.channels()),
            "`feature_norm_width` must be at least the last of `conv_dim`",
        )
    }

    /// Checks dropouts, epsilon, activations and the kind of positional convolution.
    fn validate_constants(&self) -> Checked {
        for (name, p) in [
            ("feat_proj_dropout", self.feat_proj_dropout),
            ("hidden_dropout", self.hidden_dropout),
            ("attention_dropout", self.attention_dropout),
            ("activation_dropout", self.activation_dropout),
        ] {
            ensure(
                (0.0..1.0).contains(&p),
                format!("`{name}` must be at least 0 and below 1"),
            )?;
        }
        ensure(
            self.layer_norm_eps > 0.0 && self.layer_norm_eps.is_finite(),
            "`layer_norm_eps` must be above 0",
        )?;
        for (name, activation) in [
            ("hidden_act", &self.hidden_act),
            ("feat_extract_activation", &self.feat_extract_activation),
        ] {
            ensure(
                activation == "gelu",
                format!("`{name}` is \"{activation}\"; this version knows \"gelu\""),
            )?;
        }
        ensure(
            !self.conv_pos_batch_norm,
            "`conv_pos_batch_norm` is true; this version knows the weight-normed form",
        )
    }
}
