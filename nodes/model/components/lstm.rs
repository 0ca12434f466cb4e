//! A recurrent layer, with the names and the layout of PyTorch's `nn.LSTM`.
use super::tensor::{Dim, Initial, TensorSpec};
use super::{Component, ComponentKind, Elements, Macs};
use crate::model::Architecture;

/// Returns the names of the tensors of one direction of a layer, in the order of the op `lstm`.
pub(in crate::model) fn names(layer: usize, direction: usize) -> [String; 4] {
    let suffix = ["", "_reverse"][direction];
    ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].map(|name| format!("{name}_l{layer}{suffix}"))
}

/// Lists the tensors of a layer of `units` a direction, four a direction, in the order of the op
/// `lstm`. They are drawn as PyTorch draws them.
pub(crate) fn tensors(
    prefix: &str,
    layer: usize,
    directions: usize,
    input: usize,
    units: usize,
) -> Vec<TensorSpec> {
    let gates = Dim::fixed(4 * units);
    let drawn = Initial::Within(1.0 / (units as f64).sqrt());
    let shapes = [
        vec![gates, Dim::fixed(input)],
        vec![gates, Dim::fixed(units)],
        vec![gates],
        vec![gates],
    ];
    let mut tensors = vec![];
    for direction in 0..directions {
        for (name, dims) in names(layer, direction).iter().zip(&shapes) {
            tensors.push(TensorSpec::new(format!("{prefix}{name}"), dims, drawn));
        }
    }
    tensors
}

/// Describes a recurrent layer: for each direction of H units maps of the input and of the state to
/// 4 H gates, with a bias each.
///
/// Retained are the input as an operand, and for each unit its gates, its state and its cell before
/// the step.
pub(super) fn lstm(a: &Architecture, layer: usize) -> Component {
    let kind = ComponentKind::Lstm(layer);
    let input = a.layer_width(layer);
    let units = a.lstm_units();
    let tensors = tensors(&kind.prefix(), layer, a.lstm_directions(), input, units);
    let all_units = a.lstm_directions() * units;
    Component {
        macs: Macs {
            per_frame: 4 * all_units * (input + units),
            ..Macs::default()
        },
        retained: Elements {
            f32s: 6 * all_units,
            operands: input,
        },
        ..Component::new(kind, tensors)
    }
}
