//! The one description of an encoder: its components, and for each its tensors, its
//! multiply-accumulates and the activations that a GPU retains for its gradients.
//!
//! Every dimension of a tensor names the units that index it. The rest is derived: shapes and
//! parameters, the expected parameters of a gated model, the tensors of a smaller one. A new kind
//! of layer needs a [`ComponentKind`], a function beside those in the files below, its op, and its
//! place in [`Forward`](super::Forward).
mod attention;
mod extractor;
mod fbank;
mod feed_forward;
mod input;
mod lstm;
mod projection;
mod tensor;
mod whisper;

pub(super) use attention::POSITION_TABLE;
pub use extractor::DUMMY_WEIGHT;
pub use input::MASK_EMBEDDING;
pub(super) use input::stacked_prefix;
pub(super) use lstm::names as lstm_names;
pub(crate) use lstm::tensors as lstm_tensors;
pub(crate) use tensor::{Dim, Initial, TensorSpec};

use super::{Architecture, UnitGroup};

/// Kinds of components, with the number of the convolution or layer, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComponentKind {
    MaskEmbedding,
    /// With the norm that follows it.
    Convolution(usize),
    /// Dummy weight, norm and linear map.
    FeatureProjection,
    /// The convolution over log-mel frames.
    FbankConvolution,
    FbankProjection,
    PositionalConvolution,
    EncoderNorm,
    /// The convolution that joins frames before the first layer.
    TimeReduction,
    /// WavLM's table of biases by relative position.
    PositionTable,
    Attention(usize),
    AttentionNorm(usize),
    FeedForward(usize),
    FeedForwardNorm(usize),
    /// One of the two convolutions of Whisper's encoder.
    WhisperConvolution(usize),
    WhisperPositions,
    /// A recurrent layer. Its number ends the names of its tensors, so all have one prefix.
    Lstm(usize),
}

impl ComponentKind {
    /// Returns the layer that the component is in, from 0.
    pub fn layer(self) -> Option<usize> {
        use ComponentKind::*;
        match self {
            Attention(l) | AttentionNorm(l) | FeedForward(l) | FeedForwardNorm(l) | Lstm(l) => {
                Some(l)
            }
            _ => None,
        }
    }

    /// Returns what the names of its tensors begin with, the dot included.
    pub fn prefix(self) -> String {
        match self {
            ComponentKind::Convolution(i) => format!("feature_extractor.conv_layers.{i}."),
            ComponentKind::FeatureProjection => "feature_projection.".into(),
            ComponentKind::FbankConvolution => "feature_extractor.fbank_conv_layers.0.conv.".into(),
            ComponentKind::FbankProjection => "feature_projection.fbank_projection.".into(),
            ComponentKind::PositionalConvolution => "encoder.pos_conv_embed.conv.".into(),
            ComponentKind::EncoderNorm => "encoder.layer_norm.".into(),
            ComponentKind::TimeReduction => "encoder.time_reduction.".into(),
            ComponentKind::Attention(l) => format!("encoder.layers.{l}.attention."),
            ComponentKind::AttentionNorm(l) => format!("encoder.layers.{l}.layer_norm."),
            ComponentKind::FeedForward(l) => format!("encoder.layers.{l}.feed_forward."),
            ComponentKind::FeedForwardNorm(l) => format!("encoder.layers.{l}.final_layer_norm."),
            ComponentKind::WhisperConvolution(i) => {
                format!("feature_extractor.whisper_conv_layers.{i}.conv.")
            }
            ComponentKind::WhisperPositions => "encoder.embed_positions.".into(),
            ComponentKind::Lstm(_) => "encoder.lstm.".into(),
            ComponentKind::MaskEmbedding | ComponentKind::PositionTable => String::new(),
        }
    }
}

/// One component of an encoder.
#[derive(Clone, Debug)]
pub struct Component {
    pub kind: ComponentKind,
    pub tensors: Vec<TensorSpec>,
    /// The group whose one gate closes the component as a whole.
    pub whole: Option<UnitGroup>,
    pub macs: Macs,
    /// Activations retained for each frame.
    pub retained: Elements,
    /// Activations retained for each pair of frames of a row.
    pub retained_pairs: Elements,
    /// Elements that a GPU holds whatever the batch.
    pub workspace: Elements,
}

impl Component {
    /// Builds a component that computes no product and retains nothing.
    fn new(kind: ComponentKind, tensors: Vec<TensorSpec>) -> Component {
        Component {
            kind,
            tensors,
            whole: None,
            macs: Macs::default(),
            retained: Elements::default(),
            retained_pairs: Elements::default(),
            workspace: Elements::default(),
        }
    }

    /// Returns the frames of the component's output, given those of every convolution and of the
    /// layers.
    pub fn frames(&self, frames: &RowFrames) -> usize {
        match self.kind {
            ComponentKind::Convolution(i) | ComponentKind::WhisperConvolution(i) => {
                frames.by_convolution[i]
            }
            ComponentKind::TimeReduction => frames.of_layers,
            kind if kind.layer().is_some() => frames.of_layers,
            _ => frames.by_convolution[frames.by_convolution.len() - 1],
        }
    }
}

/// The frames of a row.
pub struct RowFrames {
    pub by_convolution: Vec<usize>,
    pub of_layers: usize,
}

impl RowFrames {
    pub fn new(a: &Architecture, samples: usize) -> RowFrames {
        RowFrames {
            by_convolution: a.frames_by_conv(samples),
            of_layers: if a.is_whisper() {
                a.computed_frames(samples)
            } else {
                a.layer_frames(1, samples)
            },
        }
    }
}

/// Multiply-accumulates of convolutions, linear maps and the two attention products.
#[derive(Clone, Copy, Debug, Default)]
pub struct Macs {
    pub per_frame: usize,
    /// For each pair of frames.
    pub per_pair: usize,
    /// For each row that has frames at all.
    pub per_row: usize,
}

impl Macs {
    /// Counts the multiply-accumulates of one row.
    pub fn count(&self, frames: usize) -> u128 {
        let t = frames as u128;
        let once = if frames > 0 { self.per_row } else { 0 };
        t * self.per_frame as u128 + t * t * self.per_pair as u128 + once as u128
    }
}

/// A number of elements in a GPU's memory, by what an element takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Elements {
    pub f32s: usize,
    /// Operands of products, in the precision of these.
    pub operands: usize,
}

impl Elements {
    pub fn bytes(&self, bytes_per_operand: usize) -> usize {
        4 * self.f32s + bytes_per_operand * self.operands
    }
}

impl Architecture {
    /// Describes every component, in the order of the model's tensors.
    ///
    /// That order is fixed: the place of a tensor decides which random numbers it is drawn from.
    pub fn components(&self) -> Vec<Component> {
        let mut components = vec![];
        components.extend(input::mask_embedding(self));
        if self.is_whisper() {
            components.extend((0..self.conv_dim.len()).map(|i| whisper::convolution(self, i)));
        } else if self.is_fbank() {
            components.push(fbank::convolution(self));
            components.push(fbank::projection(self));
        } else {
            components.extend((0..self.conv_dim.len()).map(|i| extractor::convolution(self, i)));
            components.push(projection::feature_projection(self));
        }
        if self.is_lstm() {
            components.extend((0..self.num_hidden_layers).map(|layer| lstm::lstm(self, layer)));
            return components;
        }
        if self.is_whisper() {
            components.push(whisper::positions(self));
        } else {
            components.push(input::positional_convolution(self));
        }
        components.push(input::encoder_norm(self));
        components.extend(input::time_reduction(self));
        components.extend(attention::position_table(self));
        for layer in 0..self.num_hidden_layers {
            components.push(attention::attention(self, layer));
            components.push(layer_norm(self, ComponentKind::AttentionNorm(layer)));
            components.push(feed_forward::feed_forward(self, layer));
            components.push(layer_norm(self, ComponentKind::FeedForwardNorm(layer)));
        }
        components
    }

    /// Lists the tensors of the model's safetensors, in the model's order.
    pub fn stored_tensors(&self) -> Vec<TensorSpec> {
        let tensors = self.components().into_iter().flat_map(|c| c.tensors);
        tensors.filter(|tensor| tensor.stored).collect()
    }

    /// Lists the name and shape of every tensor of the model's safetensors, in the model's order.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let tensors = self.stored_tensors().into_iter();
        tensors
            .map(|tensor| {
                let shape = tensor.shape();
                (tensor.name, shape)
            })
            .collect()
    }
}

/// Describes the norm of a sub-layer. Its input is retained, and its output as an operand.
fn layer_norm(a: &Architecture, kind: ComponentKind) -> Component {
    Component {
        retained: Elements {
            f32s: a.hidden_size,
            operands: a.hidden_size,
        },
        ..Component::new(
            kind,
            tensor::norm(&kind.prefix(), Dim::fixed(a.hidden_size)),
        )
    }
}
