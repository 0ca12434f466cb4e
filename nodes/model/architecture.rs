//! What a model looks like: HubertConfig's and WavLMConfig's keys, and those that a pruned model needs besides
//! (docs/nodes.md, "Model folders").
use serde::{Deserialize, Serialize};

/// Keys and defaults of transformers' HubertConfig. Keys of it that change nothing here are read and left alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Architecture {
    pub model_type: String,
    /// Channels, kernel and stride of each convolution.
    pub conv_dim: Vec<usize>,
    pub conv_kernel: Vec<usize>,
    pub conv_stride: Vec<usize>,
    pub conv_bias: bool,
    pub feat_extract_norm: ExtractNorm,
    pub feat_extract_activation: String,
    pub feat_proj_layer_norm: bool,
    /// False: the last convolution is as wide as the encoder and is followed by no linear map.
    pub feature_projection: bool,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub hidden_act: String,
    pub num_conv_pos_embeddings: usize,
    pub num_conv_pos_embedding_groups: usize,
    pub conv_pos_batch_norm: bool,
    /// Norms stand before the sub-layers (Large) and not after them (Base).
    pub do_stable_layer_norm: bool,
    pub layer_norm_eps: f64,
    pub feat_proj_dropout: f64,
    pub hidden_dropout: f64,
    pub attention_dropout: f64,
    pub activation_dropout: f64,
    pub mask_time_prob: f64,
    pub mask_feature_prob: f64,
    /// WavLM's position bias: buckets of distances, and the distance from which on all share one.
    pub num_buckets: usize,
    pub max_bucket_distance: usize,

    /// Heads of each layer; 0: its attention is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_num_heads: Option<Vec<usize>>,
    /// WavLM, in its place: which heads of each layer are left, since gates and biases know all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_remaining_heads: Option<Vec<Vec<usize>>>,
    /// Inner units of each layer's feed-forward; 0: it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_ff_interm_features: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_head_dim: Option<usize>,
    /// Channels that the projection's norm divides by, where some of them were pruned away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_norm_width: Option<usize>,
    /// The last convolution's channels carry `feature_extractor.dummy_weight`.
    #[serde(skip_serializing_if = "is_false")]
    pub feature_dummy_weight: bool,
    /// A sub-layer that is gone still adds its output bias, as it did when its last unit closed.
    #[serde(skip_serializing_if = "is_false")]
    pub encoder_keeps_bias: bool,
}

fn is_false(b: &bool) -> bool {
    !b
}

/// Norm of the convolutions: over time in the first alone, or over channels in each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExtractNorm {
    Group,
    Layer,
}

impl Default for Architecture {
    fn default() -> Self {
        Architecture {
            model_type: "hubert".into(),
            conv_dim: vec![512; 7],
            conv_kernel: vec![10, 3, 3, 3, 3, 2, 2],
            conv_stride: vec![5, 2, 2, 2, 2, 2, 2],
            conv_bias: false,
            feat_extract_norm: ExtractNorm::Group,
            feat_extract_activation: "gelu".into(),
            feat_proj_layer_norm: true,
            feature_projection: true,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".into(),
            num_conv_pos_embeddings: 128,
            num_conv_pos_embedding_groups: 16,
            conv_pos_batch_norm: false,
            do_stable_layer_norm: false,
            layer_norm_eps: 1e-5,
            feat_proj_dropout: 0.0,
            hidden_dropout: 0.1,
            attention_dropout: 0.1,
            activation_dropout: 0.1,
            mask_time_prob: 0.05,
            mask_feature_prob: 0.0,
            num_buckets: 320,
            max_bucket_distance: 800,
            encoder_num_heads: None,
            encoder_remaining_heads: None,
            encoder_ff_interm_features: None,
            encoder_head_dim: None,
            feature_norm_width: None,
            feature_dummy_weight: false,
            encoder_keeps_bias: false,
        }
    }
}

/// `model_type` of an unpruned WavLM.
pub(super) const WAVLM: &str = "wavlm";

impl Architecture {
    /// `model_type` of an unpruned model of this sort.
    pub(super) fn family(&self) -> &str {
        self.model_type.trim_start_matches("pruned_")
    }
    /// WavLM's gated bias by relative position.
    pub fn has_position_bias(&self) -> bool {
        self.family() == WAVLM
    }
    /// Channels of the last convolution.
    pub fn channels(&self) -> usize {
        self.conv_dim[self.conv_dim.len() - 1]
    }
    pub fn heads(&self, layer: usize) -> usize {
        match (&self.encoder_remaining_heads, &self.encoder_num_heads) {
            (Some(kept), _) => kept[layer].len(),
            (None, Some(heads)) => heads[layer],
            (None, None) => self.num_attention_heads,
        }
    }
    /// A WavLM layer's heads, by their numbers before pruning.
    pub fn remaining_heads(&self, layer: usize) -> Vec<usize> {
        self.encoder_remaining_heads.as_ref().map_or_else(
            || (0..self.num_attention_heads).collect(),
            |h| h[layer].clone(),
        )
    }
    /// Leaves a layer those of its heads that stand at these places.
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
    pub fn ffn(&self, layer: usize) -> usize {
        self.encoder_ff_interm_features
            .as_ref()
            .map_or(self.intermediate_size, |f| f[layer])
    }
    pub fn head_dim(&self) -> usize {
        self.encoder_head_dim
            .unwrap_or(self.hidden_size / self.num_attention_heads)
    }
    /// Frames of `samples` samples: ⌊(n − k) / s⌋ + 1 through every convolution; none where the kernel does not fit.
    pub fn frames(&self, samples: usize) -> usize {
        self.frames_by_conv(samples).last().copied().unwrap_or(0)
    }
    /// Frames after each convolution.
    pub fn frames_by_conv(&self, samples: usize) -> Vec<usize> {
        let mut n = samples;
        let after = |(&k, &s): (&usize, &usize)| {
            n = if n < k { 0 } else { (n - k) / s + 1 };
            n
        };
        self.conv_kernel
            .iter()
            .zip(&self.conv_stride)
            .map(after)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_odd_lengths() {
        let a = Architecture::default();
        let frames = [0, 399, 400, 719, 720, 16000, 80000].map(|n| a.frames(n));
        assert_eq!(frames, [0, 0, 1, 1, 2, 49, 249]);
    }
}
