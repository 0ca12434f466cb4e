//! What a node sends of its model's layers, and what is wrong with what it is asked for.
use crate::Result;
use crate::model::Architecture;
use crate::node::OptionError;
use crate::node::layers_option::layer_errors;
use crate::node::port::{self, Content, FrameStep, Shape, Shapes};

/// Returns the shape of hidden states of a model's layers, `width` wide.
pub fn hiddens_shape(layers: &[usize], width: usize, a: &Architecture) -> Shape {
    Shape::Hiddens {
        layers: layers.to_vec(),
        width,
        step: match layers {
            // Frames are joined behind layer 0.
            [0] => frame_step(a),
            _ => reduced_step(a),
        },
        content: Content::Layers,
    }
}

/// Returns the shape of the attention maps of these layers; layer 0 has none.
pub fn maps_shape(layers: &[usize], a: &Architecture) -> Shape {
    Shape::Maps {
        layers: mapped_layers(layers),
        step: reduced_step(a),
    }
}

fn reduced_step(a: &Architecture) -> FrameStep {
    FrameStep {
        joined: a.time_reduction,
        ..frame_step(a)
    }
}

/// Returns how the frames of a model lie before any are joined.
fn frame_step(a: &Architecture) -> FrameStep {
    let (window, hop) = a.window_and_hop();
    FrameStep {
        window,
        hop,
        ..FrameStep::default()
    }
}

/// Returns the width of the layers that a node sends, which it must have in common.
pub fn common_width(layers: &[usize], a: &Architecture) -> Result<usize, OptionError> {
    let width = |layer: &usize| a.layer_width(*layer);
    let first = layers.first().map_or(a.hidden_size, width);
    match layers.iter().position(|layer| width(layer) != first) {
        None => Ok(first),
        Some(i) => Err(OptionError::element(
            &format!("layers.{i}"),
            "layers",
            format!(
                "layer {} is {} wide, but layer {} is {first} wide; use two nodes",
                layers[i],
                width(&layers[i]),
                layers[0]
            ),
        )),
    }
}

/// Says that a model sends nothing on the port of attention maps, if one of these layers has none.
pub fn missing_maps(
    port: &'static str,
    layers: &[usize],
    a: &Architecture,
) -> Vec<(&'static str, String)> {
    let problem = no_map(layers, a).map(|problem| (port, problem));
    problem.into_iter().collect()
}

/// Returns why one of these layers has no attention map.
fn no_map(layers: &[usize], a: &Architecture) -> Option<String> {
    if !a.has_attention() {
        return Some("the model's layers are an LSTM, which has no attention maps".into());
    }
    if a.is_whisper() {
        return Some("the maps of Whisper's encoder are of 30 s, not of a row's frames".into());
    }
    let mut mapped = mapped_layers(layers).into_iter();
    let layer = mapped.find(|layer| a.heads(layer - 1) == 0)?;
    Some(format!(
        "layer {layer} has no attention head left, and so no map: leave it out of `layers`"
    ))
}

/// Returns the layers whose maps a node sends, if one reads them.
///
/// # Errors
/// One of them has no map.
pub fn sent_maps(are_read: bool, layers: &[usize], a: &Architecture) -> Result<Vec<usize>> {
    if !are_read {
        return Ok(vec![]);
    }
    match no_map(layers, a) {
        Some(problem) => Err(problem.into()),
        None => Ok(mapped_layers(layers)),
    }
}

/// Returns the layers that have an attention map.
fn mapped_layers(layers: &[usize]) -> Vec<usize> {
    layers.iter().copied().filter(|layer| *layer > 0).collect()
}

/// Checks the option `layers` of a command, outside of a graph.
pub fn check_command_layers(layers: &[usize], a: &Architecture) -> Result<()> {
    let errors = layer_errors(layers, a);
    if errors.is_empty() {
        return Ok(());
    }
    let messages: Vec<_> = errors.into_iter().map(|error| error.message).collect();
    Err(messages.join("; ").into())
}

/// Returns what is wrong with the input `mask` of a teacher or student.
pub fn mask_error(inputs: &Shapes, a: &Architecture) -> Option<OptionError> {
    if !inputs.contains_key(port::MASK.name) {
        return None;
    }
    a.mask_problem()
        .map(|problem| OptionError::input(port::MASK.name, problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_without_heads_has_no_map() {
        let pruned = Architecture {
            num_hidden_layers: 3,
            encoder_num_heads: Some(vec![2, 0, 1]),
            ..Architecture::default()
        };
        assert_eq!(no_map(&[0, 1, 3], &pruned), None);
        let problem = no_map(&[1, 2, 3], &pruned).unwrap();
        assert!(
            problem.starts_with("layer 2 has no attention head left"),
            "{problem}"
        );
    }
}
