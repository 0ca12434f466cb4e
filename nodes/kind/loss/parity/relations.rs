//! STaRHuBERT's student against its own code, and its objectives against their formulas in float64
//! (tests/golden/distil.py).
use crate::data::column::{self, FRAMES, ID, MAP};
use crate::data::targets::Targets;
use crate::kind::loss::Options;
use crate::model::parity::{close, golden, gradient, load, values};
use crate::model::{Convention, Encoded, Forward, Model, OPEN, Outputs, UnknownKeys};
use crate::node::port::{Content, FrameStep, Hiddens, Maps, Shape, Value};
use crate::node::report::ReportedLines;
use crate::node::step::{Step, StepInfo};
use crate::node::{Config, NodeContext};
use arrow::array::{StringArray, UInt32Array};
use compute::gemm::Precision;
use compute::op::mean_map;
use compute::tensor::{Spans, Tape, backward, hidden, read};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const ROWS: [&str; 2] = ["a", "b"];
const LAYERS: usize = 4;
/// Width of the targets.
const WIDTH: usize = 24;

fn student() -> Model {
    Model::load(&golden("star"), UnknownKeys::REFUSE).expect("star")
}

/// Layer 0 is the input of the first layer, or by the other convention the projection's output.
#[test]
fn hidden_states_and_averaged_maps() {
    let theirs = load("star.safetensors");
    let model = student();
    let pass = Forward::frozen(&model, OPEN, Precision::F32);
    for row in ROWS {
        let audio = [values(&theirs, &format!("audio/{row}"))];
        let outputs = Outputs {
            layers: &[0, 1, 2, 3, 4],
            maps: &[1, 2, 3, 4],
            encoder_output: false,
            convention: Convention::Hf,
        };
        let Encoded { hiddens, maps, .. } = pass.encode(pass.features(&audio), None, outputs);
        for (l, hidden) in hiddens.iter().enumerate() {
            let name = format!("hidden/{row}/{l}");
            close(&name, &read(&hidden.values), values(&theirs, &name));
        }
        for (l, map) in maps.iter().enumerate() {
            let name = format!("map/{row}/{}", l + 1);
            close(&name, &read(&mean_map(map).values), values(&theirs, &name));
        }
        let projected = pass.hiddens(&audio, &[0], Convention::Torchaudio);
        let name = format!("projection/{row}");
        close(&name, &read(&projected[0].values), values(&theirs, &name));
    }
}

#[test]
fn objectives_and_their_gradients() {
    let theirs = load("star.safetensors");
    let model = student();
    let by_row = |name: &str| ROWS.map(|row| values(&theirs, &format!("{name}/{row}")));
    let frames = by_row("target").map(|row| row.len() / ((LAYERS + 1) * WIDTH));
    let spans = Spans::new(frames);
    let ids = Arc::new(StringArray::from(ROWS.to_vec()));

    let mut layers = vec![];
    for l in 0..=LAYERS {
        let mut numbers = vec![];
        for (row, frames) in by_row("target").into_iter().zip(frames) {
            numbers.extend_from_slice(&row[l * frames * WIDTH..(l + 1) * frames * WIDTH]);
        }
        layers.push(hidden(numbers, WIDTH, spans.clone()));
    }
    let targets = Targets::new(ids.clone(), layers);
    let lengths = frames.into_iter().flat_map(|n| [n * n; LAYERS]);
    let maps = column::list_by_layer(by_row("target_map").concat(), lengths, 2, LAYERS);
    let frame_counts = UInt32Array::from_iter_values(frames.map(|n| n as u32));
    let map_batch = column::batch(vec![
        (ID, ids),
        (FRAMES, Arc::new(frame_counts) as _),
        (MAP, Arc::new(maps.expect("lists")) as _),
    ])
    .expect("a batch");

    for term in ["gram", "gram-between", "map-kl"] {
        let tape = Tape::default();
        let gates = BTreeMap::new();
        let pass = Forward::without_dropout(&model, &gates, Precision::F32, tape.clone());
        let outputs = Outputs {
            layers: &[0, 1, 2, 3, 4],
            maps: &[1, 2, 3, 4],
            encoder_output: false,
            convention: Convention::Hf,
        };
        let Encoded { hiddens, maps, .. } =
            pass.encode(pass.features(&by_row("audio")), None, outputs);
        let options: Options =
            serde_json::from_value(json!({ "terms": [{ "type": term }] })).expect("options");
        let mut context = NodeContext::alone("match", Arc::new(ReportedLines::default()), |_| ());
        let mut inputs = HashMap::new();
        if term == "map-kl" {
            let layers: Vec<usize> = (1..=LAYERS).collect();
            for port in ["student_maps", "target_maps"] {
                let layers = layers.clone();
                context.inputs.insert(
                    port,
                    vec![Shape::Maps {
                        layers,
                        step: FrameStep::default(),
                    }],
                );
            }
            let layers = layers.into_iter().zip(maps).collect();
            inputs.insert("student_maps".into(), vec![Value::Maps(Maps { layers })]);
            inputs.insert("target_maps".into(), vec![Value::Batch(map_batch.clone())]);
        } else {
            for (port, width) in [("student", hiddens[0].width()), ("target", WIDTH)] {
                let shape = Shape::Hiddens {
                    layers: (0..=LAYERS).collect(),
                    width,
                    step: FrameStep::default(),
                    content: Content::Layers,
                };
                context.inputs.insert(port, vec![shape]);
            }
            let layers = hiddens.into_iter().enumerate().collect();
            inputs.insert("student".into(), vec![Value::Hiddens(Hiddens { layers })]);
            inputs.insert("target".into(), vec![Value::Targets(targets.clone())]);
        }
        options.checked(&context.inputs).expect("a loss that fits");
        let mut node = options.build(&context).expect("a node");
        let info = StepInfo::default();
        let mut step = Step::new(info, &context, tape.clone(), inputs, &mut []);
        node.run(&mut step).expect("a step");
        let Some(Value::Scalar(loss)) = step.into_outputs().remove("loss") else {
            panic!("no loss");
        };
        let name = format!("{term}/loss");
        close(&name, &read(&loss.value), values(&theirs, &name));
        let metric = format!("loss_{}", term.replace('-', "_"));
        assert_eq!(loss.parts[1].0, metric);

        let mut gradients = backward(loss.value, 1.0);
        for parameter in [
            "encoder.layers.1.attention.k_proj.weight",
            "encoder.layers.3.attention.q_proj.weight",
            "encoder.layers.0.feed_forward.intermediate_dense.weight",
            "feature_extractor.conv_layers.4.conv.weight",
        ] {
            let name = format!("{term}/grad/{parameter}");
            let ours = gradient(&mut gradients, model.weights.get(parameter));
            close(&name, &ours, values(&theirs, &name));
        }
    }
}
