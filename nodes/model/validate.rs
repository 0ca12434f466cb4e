//! Whether an architecture is one that can be built and counted: so that no count overflows and no shape is empty.
use super::Architecture;
use super::architecture::WAVLM;
use crate::Result;

/// Values of `model_type`, without `pruned_`.
const FAMILIES: &[&str] = &["hubert", "wav2vec2", WAVLM];
const WIDEST: usize = 1 << 16;
const LONGEST: usize = 1024;

impl Architecture {
    /// The first thing that is wrong, as a sentence.
    pub(super) fn sound(&self) -> Result<()> {
        if !FAMILIES.contains(&self.family()) {
            let says = "this version knows hubert, wav2vec2, wavlm and their pruned forms";
            return Err(format!("`model_type` is \"{}\"; {says}", self.model_type).into());
        }
        let layers = self.num_hidden_layers;
        let lists = [
            ("conv_dim", &self.conv_dim),
            ("conv_kernel", &self.conv_kernel),
            ("conv_stride", &self.conv_stride),
        ];
        for (name, list) in lists {
            if list.is_empty() || list.len() != self.conv_dim.len() || list.len() > LONGEST {
                return Err(format!(
                    "`{name}` needs as many numbers as `conv_dim`, 1 to {LONGEST}"
                )
                .into());
            }
            if list.iter().any(|&n| n == 0 || n > WIDEST) {
                return Err(
                    format!("`{name}` holds a number that is not from 1 to {WIDEST}").into(),
                );
            }
        }
        for (name, n) in [
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("num_conv_pos_embeddings", self.num_conv_pos_embeddings),
            (
                "num_conv_pos_embedding_groups",
                self.num_conv_pos_embedding_groups,
            ),
            ("encoder_head_dim", self.encoder_head_dim.unwrap_or(1)),
            ("feature_norm_width", self.feature_norm_width.unwrap_or(1)),
        ] {
            if n == 0 || n > WIDEST {
                return Err(format!("`{name}` must be from 1 to {WIDEST}").into());
            }
        }
        if layers > LONGEST {
            return Err(format!("`num_hidden_layers` must be at most {LONGEST}").into());
        }
        let by_layer = [&self.encoder_num_heads, &self.encoder_ff_interm_features];
        for (name, list) in ["encoder_num_heads", "encoder_ff_interm_features"]
            .into_iter()
            .zip(by_layer)
        {
            if list
                .as_ref()
                .is_some_and(|l| l.len() != layers || l.iter().any(|&n| n > WIDEST))
            {
                return Err(
                    format!("`{name}` needs {layers} numbers up to {WIDEST}, one a layer").into(),
                );
            }
        }
        self.sound_positions()?;
        if self.encoder_head_dim.is_none()
            && !self.hidden_size.is_multiple_of(self.num_attention_heads)
        {
            return Err("`hidden_size` must be a multiple of `num_attention_heads`".into());
        }
        if !self
            .hidden_size
            .is_multiple_of(self.num_conv_pos_embedding_groups)
        {
            return Err(
                "`hidden_size` must be a multiple of `num_conv_pos_embedding_groups`".into(),
            );
        }
        if !self.feature_projection
            && (self.channels() != self.hidden_size || self.feature_norm_width.is_some())
        {
            return Err(
                "`feature_projection` is false, so the last of `conv_dim` must be `hidden_size`, unpruned".into()
            );
        }
        if self.feature_norm_width.is_some() && !self.feat_proj_layer_norm {
            return Err(
                "`feature_norm_width` says how a norm counts, but `feat_proj_layer_norm` is false"
                    .into(),
            );
        }
        if self.feature_norm_width.is_some_and(|w| w < self.channels()) {
            return Err("`feature_norm_width` must be at least the last of `conv_dim`".into());
        }
        for (name, p) in [
            ("feat_proj_dropout", self.feat_proj_dropout),
            ("hidden_dropout", self.hidden_dropout),
            ("attention_dropout", self.attention_dropout),
            ("activation_dropout", self.activation_dropout),
        ] {
            if !(0.0..1.0).contains(&p) {
                return Err(format!("`{name}` must be at least 0 and below 1").into());
            }
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps.is_finite()) {
            return Err("`layer_norm_eps` must be above 0".into());
        }
        for (name, act) in [
            ("hidden_act", &self.hidden_act),
            ("feat_extract_activation", &self.feat_extract_activation),
        ] {
            if act != "gelu" {
                return Err(format!("`{name}` is \"{act}\"; this version knows \"gelu\"").into());
            }
        }
        if self.conv_pos_batch_norm {
            return Err(
                "`conv_pos_batch_norm` is true; this version knows the weight-normed form".into(),
            );
        }
        Ok(())
    }

    /// The keys of WavLM.
    fn sound_positions(&self) -> Result<()> {
        let remaining = &self.encoder_remaining_heads;
        if !self.has_position_bias() {
            let none = remaining.is_none().then_some(());
            return none
                .ok_or("`encoder_remaining_heads` is for WavLM; say `encoder_num_heads`".into());
        }
        if self.encoder_num_heads.is_some() || self.encoder_head_dim.is_some() {
            return Err("WavLM has no `encoder_num_heads`, `encoder_head_dim`; say `encoder_remaining_heads`".into());
        }
        if !(4..=WIDEST).contains(&self.num_buckets) {
            return Err(format!("`num_buckets` must be from 4 to {WIDEST}").into());
        }
        if self.max_bucket_distance <= self.num_buckets / 4 {
            return Err("`max_bucket_distance` must be above a quarter of `num_buckets`".into());
        }
        let (layers, heads) = (self.num_hidden_layers, self.num_attention_heads);
        let climbs = |kept: &Vec<usize>| {
            kept.is_sorted_by(|a, b| a < b) && kept.last().is_none_or(|&h| h < heads)
        };
        if remaining
            .as_ref()
            .is_some_and(|all| all.len() != layers || !all.iter().all(climbs))
        {
            return Err(format!(
                "`encoder_remaining_heads` needs {layers} lists, each of climbing numbers below {heads}"
            )
            .into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsound_ones_say_why() {
        let says = |text: &str| Architecture::from_config(text).expect_err(text).to_string();
        assert_eq!(
            says(r#"{"model_type": "data2vec-audio"}"#),
            "`model_type` is \"data2vec-audio\"; this version knows hubert, wav2vec2, wavlm and their pruned forms"
        );
        let wavlm = |keys: &str| {
            says(&format!(
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
            says(r#"{"encoder_remaining_heads": []}"#),
            "`encoder_remaining_heads` is for WavLM; say `encoder_num_heads`"
        );
        assert_eq!(
            says(r#"{"hidden_size": 70}"#),
            "`hidden_size` must be a multiple of `num_attention_heads`"
        );
        assert_eq!(
            says(r#"{"conv_dim": []}"#),
            "`conv_dim` needs as many numbers as `conv_dim`, 1 to 1024"
        );
        assert_eq!(
            says(r#"{"hidden_size": 99999999999}"#),
            "`hidden_size` must be from 1 to 65536"
        );
        assert_eq!(
            says(r#"{"hidden_size": -1}"#),
            "key `hidden_size`: invalid value: integer `-1`, expected usize"
        );
        assert_eq!(
            says(r#"{"hidden_act": "relu"}"#),
            "`hidden_act` is \"relu\"; this version knows \"gelu\""
        );
    }
}
