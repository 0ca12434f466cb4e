//! The numbers of a model: keys of HubertConfig and WavLMConfig, and those of a pruned model
//! (docs/nodes.md, "Model folders").
mod frames;
mod layers;

use serde::{Deserialize, Serialize};

/// Keys and defaults of transformers' HubertConfig. Its keys that change nothing here are ignored.
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
    /// False if the last convolution is as wide as the encoder and no linear map follows it.
    pub feature_projection: bool,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub hidden_act: String,
    pub num_conv_pos_embeddings: usize,
    pub num_conv_pos_embedding_groups: usize,
    /// Positional convolutions one after another; more than one have norms in place of weight norm
    /// (data2vec: 5).
    #[serde(skip_serializing_if = "is_one")]
    pub conv_pos_depth: usize,
    pub conv_pos_batch_norm: bool,
    /// Whether norms precede the sub-layers (Large) or follow them (Base).
    pub do_stable_layer_norm: bool,
    pub layer_norm_eps: f64,
    pub feat_proj_dropout: f64,
    pub hidden_dropout: f64,
    pub attention_dropout: f64,
    pub activation_dropout: f64,
    pub mask_time_prob: f64,
    pub mask_feature_prob: f64,
    /// Buckets of distances in WavLM's position bias.
    pub num_buckets: usize,
    /// Distance from which on all positions of a side share a bucket.
    pub max_bucket_distance: usize,

    /// Heads of each layer; 0 if its attention is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_num_heads: Option<Vec<usize>>,
    /// WavLM has this in place of `encoder_num_heads`: the heads of each layer that are left, by
    /// their numbers before pruning, which number gates and biases too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_remaining_heads: Option<Vec<Vec<usize>>>,
    /// Inner units of each layer's feed-forward; 0 if it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_ff_interm_features: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_head_dim: Option<usize>,
    /// Channels that the projection's norm divides by, if some of them were pruned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_norm_width: Option<usize>,
    /// Whether `feature_extractor.dummy_weight` multiplies the last convolution's channels.
    #[serde(skip_serializing_if = "is_false")]
    pub feature_dummy_weight: bool,
    /// Whether a sub-layer that is gone still adds its output bias, as when its last unit closed.
    #[serde(skip_serializing_if = "is_false")]
    pub encoder_keeps_bias: bool,

    /// Of each layer, whether it uses the attention map of the nearest layer before it that
    /// computes one (ARMHuBERT).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_reuse_attention: Option<Vec<bool>>,
    /// Whether a layer normalises a reused map once more, as ARMHuBERT's released code does.
    #[serde(skip_serializing_if = "is_false")]
    pub reuse_as_released: bool,
    /// Size and number of the embeddings of a label head that a missing folder would have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_proj_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_embeddings: Option<usize>,
    /// Frames that a convolution before layer 1 joins to one (FitHuBERT: 2).
    #[serde(skip_serializing_if = "is_one")]
    pub time_reduction: usize,

    pub front_end: FrontEnd,
    /// Log-mel bins that the model reads, if it does.
    pub fbank_bins: usize,
    /// Width of the convolution over log-mel frames, whose stride is 2. A list, as of convolutions.
    pub fbank_conv_kernel: Vec<usize>,
    /// Whether Whisper's encoder computes 30 s for every row, as transformers does.
    #[serde(skip_serializing_if = "is_true")]
    pub pad_to_30_seconds: bool,
    #[serde(skip_serializing_if = "is_transformer")]
    pub encoder: EncoderType,
    /// Units of one direction of an LSTM layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lstm_hidden_size: Option<usize>,
    /// Whether an LSTM layer also reads each row from its end.
    #[serde(skip_serializing_if = "is_true")]
    pub lstm_bidirectional: bool,
}

/// What a model computes its first frames from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrontEnd {
    /// Samples, by convolutions and a feature projection.
    #[default]
    Waveform,
    /// Log-mel frames, by one convolution with a gate and a linear map.
    Fbank,
    /// Whisper's own log-mel frames of 30 s, by two convolutions.
    Whisper,
}

/// Kinds of layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncoderType {
    #[default]
    Transformer,
    /// Recurrent layers. They have no positions, no norms and no attention.
    Lstm,
}

fn is_transformer(encoder: &EncoderType) -> bool {
    *encoder == EncoderType::Transformer
}

fn is_true(value: &bool) -> bool {
    *value
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_one(value: &usize) -> bool {
    *value == 1
}

/// Norms of the convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExtractNorm {
    /// A norm over time after the first convolution.
    #[serde(alias = "compact_group")]
    Group,
    /// A norm over channels after each convolution.
    #[serde(alias = "compact_layer")]
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
            conv_pos_depth: 1,
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
            encoder_reuse_attention: None,
            reuse_as_released: false,
            final_proj_size: None,
            label_embeddings: None,
            time_reduction: 1,
            front_end: FrontEnd::Waveform,
            fbank_bins: 80,
            fbank_conv_kernel: vec![5],
            pad_to_30_seconds: true,
            encoder: EncoderType::Transformer,
            lstm_hidden_size: None,
            lstm_bidirectional: true,
        }
    }
}

/// `model_type` of data2vec's encoder of speech.
pub(super) const DATA2VEC: &str = "data2vec-audio";
/// `model_type` of an unpruned WavLM.
pub(super) const WAVLM: &str = "wavlm";

impl Architecture {
    /// Whether a frozen model of this architecture computes what one of the other does with the same
    /// tensors: they differ at most in dropout, and in the head that a missing folder would have.
    pub fn computes_as(&self, other: &Architecture) -> bool {
        let frozen = |architecture: &Architecture| Architecture {
            feat_proj_dropout: 0.0,
            hidden_dropout: 0.0,
            attention_dropout: 0.0,
            activation_dropout: 0.0,
            final_proj_size: None,
            label_embeddings: None,
            ..architecture.clone()
        };
        frozen(self) == frozen(other)
    }

    /// Returns the `model_type` without what says that transformers cannot compute the model.
    pub(crate) fn family(&self) -> &str {
        let name = self.model_type.strip_prefix("pruned_");
        let name = name.or(self.model_type.strip_prefix("compact_"));
        name.unwrap_or(&self.model_type)
    }

    /// Whether the model reads log-mel frames.
    pub fn is_fbank(&self) -> bool {
        self.front_end == FrontEnd::Fbank
    }

    /// Returns the channels of the last convolution.
    pub fn channels(&self) -> usize {
        self.conv_dim[self.conv_dim.len() - 1]
    }
}
