//! From the extractor's channels to the encoder's width.
use super::extractor::{DUMMY_WEIGHT, channels};
use super::tensor::{Dim, Initial, TensorSpec, linear, norm};
use super::{Component, ComponentKind, Macs};
use crate::model::Architecture;

/// Describes the feature projection.
///
/// Gates of the last convolution's channels go into the dummy weight, which DPHuBERT always counts.
/// `folded` is what remains of closed channels in an exact cut (`prune::shrink`).
pub(super) fn feature_projection(a: &Architecture) -> Component {
    let kind = ComponentKind::FeatureProjection;
    let prefix = kind.prefix();
    let width = Dim::fixed(a.layer_width(0));
    let inputs = channels(a, a.conv_dim.len() - 1);

    let dummy = TensorSpec::new(DUMMY_WEIGHT.into(), &[inputs.taking_gates()], Initial::Ones);
    let mut tensors = vec![dummy.stored_if(a.feature_dummy_weight)];
    if a.feat_proj_layer_norm {
        tensors.extend(norm(&format!("{prefix}layer_norm."), inputs));
    }
    if a.feature_projection {
        tensors.extend(linear(&format!("{prefix}projection."), width, inputs));
    }
    if a.feature_norm_width.is_some() {
        let folded = TensorSpec::new(format!("{prefix}folded"), &[width], Initial::Zeros);
        tensors.push(folded.not_expected());
    }

    let products = if a.feature_projection {
        inputs.len() * width.len()
    } else {
        0
    };
    Component {
        macs: Macs {
            per_frame: products,
            ..Macs::default()
        },
        ..Component::new(kind, tensors)
    }
}
