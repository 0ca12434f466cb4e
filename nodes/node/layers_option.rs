//! The option `layers` of a teacher or student.
use super::OptionError;
use crate::model::Architecture;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use std::borrow::Cow;

/// Layers whose hidden states a node sends: a list of numbers, or "all".
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a list of layers, or \"all\"")]
pub enum LayersOption {
    Listed(Vec<usize>),
    Every(Every),
}

/// The word for all layers.
#[derive(Clone, Copy, Debug, Deserialize)]
pub enum Every {
    #[serde(rename = "all")]
    All,
}

impl LayersOption {
    /// Returns the numbers, those of a model if the option is "all": 0 to its last layer, or from 1
    /// where layer 0 has more frames than the others.
    pub fn of(&self, architecture: &Architecture) -> Vec<usize> {
        match self {
            LayersOption::Listed(layers) => layers.clone(),
            LayersOption::Every(Every::All) => {
                let first = usize::from(architecture.time_reduction > 1);
                (first..=architecture.num_hidden_layers).collect()
            }
        }
    }

    /// Returns what is wrong with the numbers, for a model.
    pub fn errors(&self, architecture: &Architecture) -> Vec<OptionError> {
        let LayersOption::Listed(layers) = self else {
            return vec![];
        };
        layer_errors(layers, architecture)
    }
}

impl JsonSchema for LayersOption {
    fn schema_name() -> Cow<'static, str> {
        "Layers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "array", "items": { "type": "integer", "minimum": 0 } },
            { "const": "all" },
        ] })
    }
}

/// Returns what is wrong with numbers of layers, for a model.
pub(super) fn layer_errors(layers: &[usize], architecture: &Architecture) -> Vec<OptionError> {
    let deepest = architecture.num_hidden_layers;
    let mut errors = vec![];
    if layers.is_empty() {
        errors.push(OptionError::option("layers", "names no layer"));
    }
    for (i, layer) in layers.iter().enumerate() {
        let problem = if *layer > deepest {
            format!("there is no layer {layer}, the model has 0 to {deepest}")
        } else if layers[..i].contains(layer) {
            format!("layer {layer} stands in it twice")
        } else {
            continue;
        };
        let path = format!("layers.{i}");
        errors.push(OptionError::element(&path, "layers", problem));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn layers_are_numbers_or_all() {
        let model = Architecture {
            num_hidden_layers: 3,
            ..Architecture::default()
        };
        let layers = |option| LayersOption::deserialize(option).map(|layers| layers.of(&model));
        assert_eq!(layers(json!([2, 0])).expect("a list"), [2, 0]);
        assert_eq!(layers(json!("all")).expect("all"), [0, 1, 2, 3]);
        for wrong in [json!("al"), json!(-1), json!([0.5])] {
            let error = layers(wrong).expect_err("no layers").to_string();
            assert_eq!(error, "expected a list of layers, or \"all\"");
        }
    }
}
