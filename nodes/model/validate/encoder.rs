//! Checks the keys of the encoder: its layers, which units they have, and its positions.
use super::{Checked, WIDEST, ensure};
use crate::model::Architecture;

impl Architecture {
    /// Checks the layers of the kind that `encoder` names.
    pub(super) fn validate_encoder(&self) -> Checked {
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
}
