//! Checks that an architecture can be built and counted: no count overflows, no shape is empty.
use super::Architecture;
use super::architecture::{DATA2VEC, WAVLM};
use super::whisper::WHISPER;

/// Values of `model_type`, without `pruned_`.
const FAMILIES: &[&str] = &["hubert", "wav2vec2", WAVLM, DATA2VEC, WHISPER];
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

impl Architecture {
    /// Returns the first problem as a sentence.
    pub(super) fn validate(&self) -> Checked {
        ensure(
            FAMILIES.contains(&self.family()),
            format!(
                "`model_type` is \"{}\"; this version knows hubert, wav2vec2, wavlm and their \
                 pruned and compact forms, and data2vec-audio and whisper as teachers",
                self.model_type
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

    fn validate_encoder(&self) -> Checked {
        if self.is_lstm() {
            return self.validate_lstm();
        }
        ensure(
            self.lstm_hidden_size.is_none() && self.lstm_bidirectional,
            "`lstm_hidden_size` and `lstm_bidirectional` need `encoder` to be \"lstm\"",
        )?;
        self.validate_layers()?;
        self.validate_reuse()?;
        self.validate_positions()?;
        self.validate_divisors()
    }

    /// Checks recurrent layers. Sizes of attention and feed-forward are not read, because a folder
    /// whose front end an LSTM takes over has them.
    fn validate_lstm(&self) -> Checked {
        ensure(
            self.lstm_hidden_size
                .is_some_and(|units| (1..=WIDEST).contains(&units)),
            format!(
                "`encoder` is \"lstm\", so `lstm_hidden_size`, the units of one direction, must be \
                 from 1 to {WIDEST}"
            ),
        )?;
        for (name, given) in [
            ("encoder_num_heads", self.encoder_num_heads.is_some()),
            (
                "encoder_remaining_heads",
                self.encoder_remaining_heads.is_some(),
            ),
            (
                "encoder_ff_interm_features",
                self.encoder_ff_interm_features.is_some(),
            ),
            (
                "encoder_reuse_attention",
                self.encoder_reuse_attention.is_some(),
            ),
            ("time_reduction", self.time_reduction != 1),
        ] {
            ensure(
                !given,
                format!("`{name}` is of transformers, but `encoder` is \"lstm\""),
            )?;
        }
        Ok(())
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

    /// Checks which layers use the attention map of another.
    fn validate_reuse(&self) -> Checked {
        let Some(reuse) = &self.encoder_reuse_attention else {
            return ensure(
                !self.reuse_as_released,
                "`reuse_as_released` says how a map is reused; say `encoder_reuse_attention` too",
            );
        };
        let layers = self.num_hidden_layers;
        ensure(
            reuse.len() == layers,
            format!("`encoder_reuse_attention` needs {layers} flags, one a layer"),
        )?;
        ensure(
            reuse.first() != Some(&true),
            "`encoder_reuse_attention`: layer 1 has no layer before it; its flag must be false",
        )?;
        let owner = |layer: usize| (0..layer).rev().find(|&before| !reuse[before]);
        let fits = |layer: usize| {
            !reuse[layer] || owner(layer).is_some_and(|own| self.heads(own) == self.heads(layer))
        };
        ensure(
            (0..layers).all(fits),
            "`encoder_reuse_attention`: a layer needs as many heads as the layer whose map it uses",
        )
    }

    fn validate_layers(&self) -> Checked {
        let layers = self.num_hidden_layers;
        for (name, list) in [
            ("encoder_num_heads", &self.encoder_num_heads),
            (
                "encoder_ff_interm_features",
                &self.encoder_ff_interm_features,
            ),
        ] {
            let fits =
                |list: &Vec<usize>| list.len() == layers && list.iter().all(|&n| n <= WIDEST);
            ensure(
                list.as_ref().is_none_or(fits),
                format!("`{name}` needs {layers} numbers up to {WIDEST}, one a layer"),
            )?;
        }
        Ok(())
    }

    /// Checks the keys of WavLM.
    fn validate_positions(&self) -> Checked {
        let remaining = &self.encoder_remaining_heads;
        if !self.has_position_bias() {
            return ensure(
                remaining.is_none(),
                "`encoder_remaining_heads` is for WavLM; say `encoder_num_heads`",
            );
        }
        ensure(
            self.encoder_num_heads.is_none() && self.encoder_head_dim.is_none(),
            "WavLM has no `encoder_num_heads`, `encoder_head_dim`; say `encoder_remaining_heads`",
        )?;
        ensure(
            (4..=WIDEST).contains(&self.num_buckets),
            format!("`num_buckets` must be from 4 to {WIDEST}"),
        )?;
        ensure(
            self.max_bucket_distance > self.num_buckets / 4,
            "`max_bucket_distance` must be above a quarter of `num_buckets`",
        )?;
        let layers = self.num_hidden_layers;
        let heads = self.num_attention_heads;
        let climbs = |list: &Vec<usize>| {
            list.is_sorted_by(|a, b| a < b) && list.last().is_none_or(|&head| head < heads)
        };
        ensure(
            remaining
                .as_ref()
                .is_none_or(|lists| lists.len() == layers && lists.iter().all(climbs)),
            format!(
                "`encoder_remaining_heads` needs {layers} lists, each of climbing numbers below \
                 {heads}"
            ),
        )
    }

    fn validate_divisors(&self) -> Checked {
        let width = self.hidden_size;
        ensure(
            self.encoder_head_dim.is_some() || width.is_multiple_of(self.num_attention_heads),
            "`hidden_size` must be a multiple of `num_attention_heads`",
        )?;
        ensure(
            width.is_multiple_of(self.num_conv_pos_embedding_groups),
            "`hidden_size` must be a multiple of `num_conv_pos_embedding_groups`",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnknownKeys;

    #[test]
    fn the_first_problem_is_named() {
        let problem = |text: &str| {
            Architecture::from_config(text, UnknownKeys::REFUSE)
                .expect_err(text)
                .to_string()
        };
        assert_eq!(
            problem(r#"{"model_type": "wav2vec2-bert"}"#),
            "`model_type` is \"wav2vec2-bert\"; this version knows hubert, wav2vec2, wavlm and \
             their pruned and compact forms, and data2vec-audio and whisper as teachers"
        );
        let wavlm = |keys: &str| {
            problem(&format!(
                r#"{{"model_type": "wavlm", "num_hidden_layers": 1, {keys}}}"#
            ))
        };
        assert_eq!(
            wavlm(r#""num_buckets": 3"#),
            "`num_buckets` must be from 4 to 65536"
        );
        assert_eq!(
            wavlm(r#""max_bucket_distance": 80"#),
            "`max_bucket_distance` must be above a quarter of `num_buckets`"
        );
        for list in ["[[0], [1]]", "[[1, 0]]", "[[12]]"] {
            assert_eq!(
                wavlm(&format!(r#""encoder_remaining_heads": {list}"#)),
                "`encoder_remaining_heads` needs 1 lists, each of climbing numbers below 12"
            );
        }
        assert_eq!(
            wavlm(r#""encoder_num_heads": [3]"#),
            "WavLM has no `encoder_num_heads`, `encoder_head_dim`; say `encoder_remaining_heads`"
        );
        assert_eq!(
            problem(r#"{"encoder_remaining_heads": []}"#),
            "`encoder_remaining_heads` is for WavLM; say `encoder_num_heads`"
        );
        for (keys, sentence) in [
            (
                r#""encoder": "lstm""#,
                "`encoder` is \"lstm\", so `lstm_hidden_size`, the units of one direction, must be \
                 from 1 to 65536",
            ),
            (
                r#""front_end": "fbank", "fbank_bins": 3"#,
                "`fbank_bins` must be from 4 to 256",
            ),
            (
                r#""front_end": "fbank", "fbank_conv_kernel": [5, 5]"#,
                "`fbank_conv_kernel` must be one odd number, so that frames have 20 ms and lie as \
                 HuBERT's",
            ),
            (
                r#""lstm_hidden_size": 384"#,
                "`lstm_hidden_size` and `lstm_bidirectional` need `encoder` to be \"lstm\"",
            ),
            (
                r#""encoder": "lstm", "lstm_hidden_size": 384, "time_reduction": 2"#,
                "`time_reduction` is of transformers, but `encoder` is \"lstm\"",
            ),
            (
                r#""encoder_reuse_attention": [false]"#,
                "`encoder_reuse_attention` needs 2 flags, one a layer",
            ),
            (
                r#""encoder_reuse_attention": [true, false]"#,
                "`encoder_reuse_attention`: layer 1 has no layer before it; its flag must be false",
            ),
            (
                r#""encoder_reuse_attention": [false, true], "encoder_num_heads": [3, 2]"#,
                "`encoder_reuse_attention`: a layer needs as many heads as the layer whose map it \
                 uses",
            ),
            (
                r#""reuse_as_released": true"#,
                "`reuse_as_released` says how a map is reused; say `encoder_reuse_attention` too",
            ),
            (
                r#""time_reduction": 0"#,
                "`time_reduction` must be from 1 to 16",
            ),
        ] {
            assert_eq!(
                problem(&format!(r#"{{"num_hidden_layers": 2, {keys}}}"#)),
                sentence
            );
        }
        assert_eq!(
            problem(r#"{"hidden_size": 70}"#),
            "`hidden_size` must be a multiple of `num_attention_heads`"
        );
        assert_eq!(
            problem(r#"{"conv_dim": []}"#),
            "`conv_dim` needs as many numbers as `conv_dim`, 1 to 1024"
        );
        assert_eq!(
            problem(r#"{"hidden_size": 99999999999}"#),
            "`hidden_size` must be from 1 to 65536"
        );
        assert_eq!(
            problem(r#"{"hidden_size": -1}"#),
            "key `hidden_size`: invalid value: integer `-1`, expected usize"
        );
        assert_eq!(
            problem(r#"{"hidden_act": "relu"}"#),
            "`hidden_act` is \"relu\"; this version knows \"gelu\""
        );
    }
}
