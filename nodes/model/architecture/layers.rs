//! What each layer of a model has: its heads, its inner units, the map that it uses.
use super::{Architecture, EncoderType, WAVLM};

impl Architecture {
    /// Whether the layers are recurrent.
    pub fn is_lstm(&self) -> bool {
        self.encoder == EncoderType::Lstm
    }

    /// Returns the units of one direction of an LSTM layer; 0 if the layers are transformers.
    pub fn lstm_units(&self) -> usize {
        self.lstm_hidden_size
            .filter(|_| self.is_lstm())
            .unwrap_or(0)
    }

    /// Returns the number of directions of an LSTM layer.
    pub fn lstm_directions(&self) -> usize {
        if self.lstm_bidirectional { 2 } else { 1 }
    }

    /// Returns the width of a layer's output, and of the first layer's input for layer 0.
    pub fn layer_width(&self, layer: usize) -> usize {
        match (self.encoder, layer) {
            (EncoderType::Transformer, _) => self.hidden_size,
            (EncoderType::Lstm, 0) if !self.feature_projection && !self.is_fbank() => {
                self.channels()
            }
            (EncoderType::Lstm, 0) => self.hidden_size,
            (EncoderType::Lstm, _) => self.lstm_units() * self.lstm_directions(),
        }
    }

    /// Whether layers have attention maps.
    pub fn has_attention(&self) -> bool {
        !self.is_lstm()
    }

    /// Whether a layer uses the attention map of a layer before it.
    pub fn reuses_attention(&self, layer: usize) -> bool {
        let reuse = self.encoder_reuse_attention.as_ref();
        reuse.is_some_and(|reuse| reuse[layer])
    }

    /// Whether the layer after this one uses this one's attention map.
    pub fn hands_on_attention(&self, layer: usize) -> bool {
        layer + 1 < self.num_hidden_layers && self.reuses_attention(layer + 1)
    }

    /// Whether attention has WavLM's gated bias by relative position.
    pub fn has_position_bias(&self) -> bool {
        self.family() == WAVLM
    }

    /// Returns the number of heads of a layer; 0 if it has no attention.
    pub fn heads(&self, layer: usize) -> usize {
        if !self.has_attention() {
            return 0;
        }
        match (&self.encoder_remaining_heads, &self.encoder_num_heads) {
            (Some(remaining), _) => remaining[layer].len(),
            (None, Some(heads)) => heads[layer],
            (None, None) => self.num_attention_heads,
        }
    }

    /// Returns a WavLM layer's heads, by their numbers before pruning.
    pub fn remaining_heads(&self, layer: usize) -> Vec<usize> {
        self.encoder_remaining_heads.as_ref().map_or_else(
            || (0..self.num_attention_heads).collect(),
            |h| h[layer].clone(),
        )
    }

    /// Keeps those heads of a layer that have these places among its present heads.
    pub fn keep_heads(&mut self, layer: usize, kept: &[usize]) {
        let layers = 0..self.num_hidden_layers;
        if self.has_position_bias() {
            let before = layers.map(|l| self.remaining_heads(l)).collect();
            let heads = &mut self.encoder_remaining_heads.get_or_insert(before)[layer];
            *heads = kept.iter().map(|&place| heads[place]).collect();
        } else {
            self.encoder_head_dim = Some(self.head_dim());
            let before = layers.map(|l| self.heads(l)).collect();
            self.encoder_num_heads.get_or_insert(before)[layer] = kept.len();
        }
    }

    /// Returns the inner units of a layer's feed-forward; 0 if it has none.
    pub fn ffn(&self, layer: usize) -> usize {
        if self.is_lstm() {
            return 0;
        }
        self.encoder_ff_interm_features
            .as_ref()
            .map_or(self.intermediate_size, |f| f[layer])
    }

    /// Keeps this number of inner units of a layer's feed-forward.
    pub fn keep_ffn(&mut self, layer: usize, kept: usize) {
        let before = (0..self.num_hidden_layers).map(|l| self.ffn(l)).collect();
        self.encoder_ff_interm_features.get_or_insert(before)[layer] = kept;
    }

    /// Leaves out lists of units that say what holds for all layers.
    pub(in crate::model) fn without_plain_lists(mut self) -> Architecture {
        let layers = 0..self.num_hidden_layers;
        if layers
            .clone()
            .all(|l| self.ffn(l) == self.intermediate_size)
        {
            self.encoder_ff_interm_features = None;
        }
        let all_heads = |l: usize| self.heads(l) == self.num_attention_heads;
        if layers.clone().all(all_heads)
            && self.head_dim() * self.num_attention_heads == self.hidden_size
        {
            self.encoder_num_heads = None;
            self.encoder_head_dim = None;
            self.encoder_remaining_heads = None;
        }
        self
    }

    /// Returns the width of a head.
    pub fn head_dim(&self) -> usize {
        self.encoder_head_dim
            .unwrap_or(self.hidden_size / self.num_attention_heads)
    }
}
