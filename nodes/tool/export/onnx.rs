//! The encoder as an ONNX graph, opset 14: `waveform` (rows, samples) to `layer_N` (rows, frames,
//! width), rows and samples of any number.
mod array;
mod attention;
mod builder;
mod evaluate;
mod front_end;
mod graph;
mod layers;

use super::compare::{noise_rows, states};
use crate::Result;
use crate::data::file::GrowingFolder;
use crate::model::{Model, normalized};
use array::Array;
use builder::Builder;
pub use builder::OnnxPrecision;
use graph::{Graph, Port};
use serde_json::json;
use std::path::Path;

const INPUT: &str = "waveform";
const FILE: &str = "model.onnx";

/// Protobuf's limit for a message.
const MOST_BYTES: u64 = 2_147_000_000;

/// Writes a folder with model.onnx.
pub(super) fn write(
    model: &Model,
    layers: &[usize],
    precision: OnnxPrecision,
    out: &Path,
) -> Result<String> {
    let graph = build(model, layers, precision);
    let bytes = graph.bytes();
    if bytes > MOST_BYTES {
        return Err(format!(
            "an ONNX file has at most 2 GB, but the weights are {bytes} bytes; --fp16 halves them, \
             --int8 quarters them"
        )
        .into());
    }
    let greatest = greatest_difference(model, &graph, layers)?;
    let metadata = metadata(model, layers, precision);
    let preprocessor = model.preprocessor_config();
    let first = "preprocessor_config.json";
    let mut folder = GrowingFolder::create(out, first, preprocessor.as_bytes())?;
    folder.write(FILE, |file| graph.write(file, &metadata))?;
    folder.finish()?;
    let mut sentence = format!(
        "evaluated in f64, {} layers of {ROWS} rows of noise differ by at most {greatest:.1e}",
        layers.len()
    );
    let has_integers = graph.nodes.iter().any(|node| node.op == "MatMulInteger");
    if precision == OnnxPrecision::Int8 && !has_integers {
        sentence +=
            "; nothing is in int8, since this model has no product that ONNX quantises as it runs";
    }
    Ok(sentence)
}

/// Rows of noise on which the graph is evaluated.
const ROWS: usize = 2;

/// Returns the greatest difference of the graph's outputs from the hidden states of rows of noise.
///
/// # Errors
/// A difference is not a number.
fn greatest_difference(model: &Model, graph: &Graph, layers: &[usize]) -> Result<f64> {
    let mut rows = noise_rows();
    let samples = rows.iter().map(Vec::len).min().unwrap_or(0);
    rows.iter_mut().for_each(|row| row.truncate(samples));
    rows.truncate(ROWS);
    let mut input = vec![];
    for row in &rows {
        let row = if model.normalize {
            normalized(row, model.normalize_epsilon)
        } else {
            row.clone()
        };
        input.extend(row.into_iter().map(f64::from));
    }
    let outputs = evaluate::evaluate(graph, Array::new(vec![rows.len(), samples], input));
    let mut greatest: f64 = 0.0;
    for (i, row) in rows.iter().enumerate() {
        for (output, state) in outputs.iter().zip(states(model, row, layers)) {
            let of_row = &output.values[i * state.len()..(i + 1) * state.len()];
            for (a, b) in of_row.iter().zip(&state) {
                let difference = (a - *b as f64).abs();
                if difference.is_nan() {
                    return Err("hidden states of noise are not finite".into());
                }
                greatest = greatest.max(difference);
            }
        }
    }
    Ok(greatest)
}

/// Builds the graph. `layers` are in order.
fn build(model: &Model, layers: &[usize], precision: OnnxPrecision) -> Graph {
    let a = &model.architecture;
    let mut builder = Builder::new(model, precision);
    let rows = "rows";
    builder
        .graph
        .inputs
        .push(Port::new(INPUT, &[rows, "samples"]));
    let projected = builder.front_end(INPUT);
    let states = builder.states(&projected);
    for &layer in layers {
        let frames = if layer > 0 && a.time_reduction > 1 {
            "joined_frames"
        } else {
            "frames"
        };
        let width = a.layer_width(layer).to_string();
        let name = format!("layer_{layer}");
        builder
            .graph
            .output(&name, &states[layer], &[rows, frames, &width]);
    }
    builder.graph.drop_unused();
    builder.graph
}

/// Returns what a user of the file must know of the model.
fn metadata(
    model: &Model,
    layers: &[usize],
    precision: OnnxPrecision,
) -> Vec<(&'static str, String)> {
    vec![
        ("layers", json!(layers).to_string()),
        ("convention", "hf".to_owned()),
        ("normalize", model.normalize.to_string()),
        ("sample_rate", "16000".to_owned()),
        ("architecture", model.architecture.model_type.clone()),
        ("precision", format!("{precision:?}").to_lowercase()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parity::golden;
    use crate::model::{Unit, UnknownKeys};
    use crate::prune::{Finalize, shrink::shrink, vectors};

    fn all_layers(model: &Model) -> Vec<usize> {
        (0..=model.architecture.num_hidden_layers).collect()
    }

    fn difference(model: &Model, precision: OnnxPrecision) -> f64 {
        let layers = all_layers(model);
        let graph = build(model, &layers, precision);
        greatest_difference(model, &graph, &layers).expect("finite")
    }

    #[test]
    fn graphs_compute_the_hidden_states() {
        for name in [
            "base",
            "large",
            "wavlm",
            "arm",
            "fit",
            "star",
            "lstm_both",
            "lstm_forward",
            "fbank_front",
        ] {
            let model = Model::load(&golden(name), UnknownKeys::REFUSE).expect(name);
            let exact = difference(&model, OnnxPrecision::F32);
            assert!(exact < 1e-4, "{name}: {exact}");
            let half = difference(&model, OnnxPrecision::F16);
            assert!(half > exact && half < 0.1, "{name}: {half}");
            let integers = difference(&model, OnnxPrecision::Int8);
            assert!(integers < 0.7, "{name}: {integers}");
        }
    }

    #[test]
    fn graphs_of_pruned_models_do_too() {
        let units = [Unit::Conv, Unit::Head, Unit::Ffn];
        for name in ["base", "wavlm"] {
            let model = Model::load(&golden(name), UnknownKeys::REFUSE).expect(name);
            for gates in [[0.7, 0.0, 1.0], [0.0, 0.0, 0.0]] {
                let units = if gates[2] == 0.0 { &units[1..] } else { &units };
                let gates = vectors(&model.architecture, units)
                    .into_iter()
                    .map(|(vector, n)| (vector, (0..n).map(|i| gates[i % 3]).collect()))
                    .collect();
                let small = shrink(&model, &gates, Finalize::Exact).expect("cut");
                let exact = difference(&small, OnnxPrecision::F32);
                assert!(exact < 1e-4, "{name}: {exact}");
            }
        }
    }

    #[test]
    fn only_what_outputs_need_is_left() {
        let model = Model::load(&golden("base"), UnknownKeys::REFUSE).expect("base");
        let graph = build(&model, &all_layers(&model), OnnxPrecision::F32);
        let first = build(&model, &[0], OnnxPrecision::F32);
        assert!(first.nodes.len() < graph.nodes.len() && first.bytes() < graph.bytes());
        let outputs: Vec<&str> = graph
            .outputs
            .iter()
            .map(|port| port.name.as_str())
            .collect();
        assert_eq!(outputs, ["layer_0", "layer_1", "layer_2"]);
    }
}
