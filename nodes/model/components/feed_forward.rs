//! The feed-forward of a layer.
use super::tensor::{Dim, Initial, LINEAR, TensorSpec, linear};
use super::{Component, ComponentKind, Elements, Macs};
use crate::model::{Architecture, Unit, UnitGroup};

/// Describes the feed-forward of a layer. One without inner units is gone; its output bias may be
/// stored. Retained are the inner units.
pub(super) fn feed_forward(a: &Architecture, layer: usize) -> Component {
    let kind = ComponentKind::FeedForward(layer);
    let prefix = kind.prefix();
    let whole = UnitGroup::new(Unit::FfnLayer, layer);
    let width = Dim::fixed(a.hidden_size);
    let inner = Dim::units(UnitGroup::new(Unit::Ffn, layer), a.ffn(layer), 1);
    let present = inner.len() > 0;

    let mut tensors = vec![];
    if present {
        tensors.extend(linear(
            &format!("{prefix}intermediate_dense."),
            inner,
            width,
        ));
        let name = format!("{prefix}output_dense.weight");
        tensors.push(TensorSpec::new(
            name,
            &[width, inner.taking_gates()],
            LINEAR,
        ));
    }
    let bias = TensorSpec::new(
        format!("{prefix}output_dense.bias"),
        &[width],
        Initial::Zeros,
    );
    tensors.push(TensorSpec {
        scaled_by: Some(whole),
        ..bias.stored_if(present || a.encoder_keeps_bias)
    });

    Component {
        whole: present.then_some(whole),
        macs: Macs {
            per_frame: 2 * width.len() * inner.len(),
            ..Macs::default()
        },
        retained: Elements {
            f32s: 0,
            operands: inner.len(),
        },
        ..Component::new(kind, tensors)
    }
}
