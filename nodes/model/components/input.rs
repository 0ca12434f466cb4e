//! Between the feature projection and the first layer: mask embedding, positions, norm.
use super::tensor::{Dim, Initial, TensorSpec, linear, norm};
use super::{Component, ComponentKind, Elements, Macs};
use crate::model::Architecture;

/// The tensor that replaces masked frames, after the feature projection.
pub const MASK_EMBEDDING: &str = "masked_spec_embed";

/// Describes the mask embedding of a model that has one. DPHuBERT does not count it.
pub(super) fn mask_embedding(a: &Architecture) -> Option<Component> {
    let width = Dim::fixed(a.hidden_size);
    let embedding = TensorSpec::new(MASK_EMBEDDING.into(), &[width], Initial::Uniform);
    let component = Component::new(ComponentKind::MaskEmbedding, vec![embedding.not_expected()]);
    a.has_mask_embedding().then_some(component)
}

/// Describes the positional convolution, whose weight is `weight_v` scaled to norm `weight_g` at
/// each tap.
///
/// An even kernel computes one frame more than the model uses. A GPU writes the weight and its
/// gradient out for 4 frames at a time.
pub(super) fn positional_convolution(a: &Architecture) -> Component {
    let kind = ComponentKind::PositionalConvolution;
    let prefix = kind.prefix();
    let width = Dim::fixed(a.hidden_size);
    let width_of_group = Dim::fixed(a.hidden_size / a.num_conv_pos_embedding_groups);
    let taps = Dim::fixed(a.num_conv_pos_embeddings);
    let one = Dim::fixed(1);

    let direction = Initial::Normal((4.0 / (taps.len() * width.len()) as f64).sqrt());
    if a.conv_pos_depth > 1 {
        return stacked_convolutions(a, [width, width_of_group, taps], direction);
    }
    let tensors = vec![
        TensorSpec::new(format!("{prefix}bias"), &[width], Initial::Zeros),
        TensorSpec::new(
            format!("{prefix}weight_g"),
            &[one, one, taps],
            Initial::TapNorms,
        ),
        TensorSpec::new(
            format!("{prefix}weight_v"),
            &[width, width_of_group, taps],
            direction,
        ),
    ];

    let per_tap = width.len() * width_of_group.len();
    let per_frame = per_tap * taps.len();
    let written =
        4 * (taps.len() + 4) * a.hidden_size * a.hidden_size / a.num_conv_pos_embedding_groups;
    Component {
        macs: Macs {
            per_frame,
            per_row: if taps.len().is_multiple_of(2) {
                per_frame
            } else {
                0
            },
            ..Macs::default()
        },
        workspace: Elements {
            f32s: written,
            operands: written,
        },
        ..Component::new(kind, tensors)
    }
}

/// Returns what the names of a stacked positional convolution begin with, the dot included.
pub(in crate::model) fn stacked_prefix(i: usize) -> String {
    format!("encoder.pos_conv_embed.layers.{i}.conv.")
}

/// Describes data2vec's positional convolutions, whose norms have no parameters. They are not
/// trained.
fn stacked_convolutions(a: &Architecture, dims: [Dim; 3], initial: Initial) -> Component {
    let mut tensors = vec![];
    for i in 0..a.conv_pos_depth {
        let prefix = stacked_prefix(i);
        tensors.push(TensorSpec::new(
            format!("{prefix}bias"),
            &dims[..1],
            Initial::Zeros,
        ));
        tensors.push(TensorSpec::new(format!("{prefix}weight"), &dims, initial));
    }
    let per_frame: usize = dims.iter().map(Dim::len).product();
    let extra = a.conv_pos_depth * per_frame;
    Component {
        macs: Macs {
            per_frame: extra,
            per_row: if dims[2].len().is_multiple_of(2) {
                extra
            } else {
                0
            },
            ..Macs::default()
        },
        ..Component::new(ComponentKind::PositionalConvolution, tensors)
    }
}

/// Describes the encoder's norm: before the first layer (Base) or after the last (Large).
pub(super) fn encoder_norm(a: &Architecture) -> Component {
    let kind = ComponentKind::EncoderNorm;
    Component::new(kind, norm(&kind.prefix(), Dim::fixed(a.hidden_size)))
}

/// Describes the convolution that joins frames before the first layer, if there is one: as many taps
/// as frames that it joins, which is also its stride.
///
/// Its weight is that of a linear map of joined frames, (width, taps · width).
pub(super) fn time_reduction(a: &Architecture) -> Option<Component> {
    let kind = ComponentKind::TimeReduction;
    let width = Dim::fixed(a.hidden_size);
    let joined = Dim::fixed(a.time_reduction * a.hidden_size);
    let component = Component {
        macs: Macs {
            per_frame: width.len() * joined.len(),
            ..Macs::default()
        },
        retained: Elements {
            f32s: 0,
            operands: joined.len(),
        },
        ..Component::new(kind, linear(&kind.prefix(), width, joined))
    };
    (a.time_reduction > 1).then_some(component)
}
