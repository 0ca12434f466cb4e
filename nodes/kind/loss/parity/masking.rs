//! Students and masking losses of ARMHuBERT and MaskHuBERT against their own code
//! (tests/golden/distil.py).
use crate::data::column::{self, ID, MASK, VIEW};
use crate::data::file::Loaded;
use crate::data::targets::Targets;
use crate::kind::loss::Options;
use crate::model::parity::{close, golden, gradient, load, values};
use crate::model::{Convention, Forward, Model, OPEN, Outputs, UnknownKeys};
use crate::node::port::{self, Content, FrameStep, Hiddens, Scalar, Shape, Value};
use crate::node::report::ReportedLines;
use crate::node::step::{Step, StepInfo};
use crate::node::{Config, NodeContext};
use arrow::array::{StringArray, UInt64Array};
use compute::gemm::Precision;
use compute::op::linear;
use compute::tensor::{Hidden, Param, Spans, Tape, backward, hidden, param, plus, read, read_all};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const LAYERS: usize = 4;

/// A student and a form of its reused maps.
struct Case {
    golden: &'static str,
    variant: &'static str,
    /// The form of ARMHuBERT's checkpoints.
    released: bool,
}

/// ARMHuBERT reuses a map in two layers in turn, MaskHuBERT reuses none.
const CASES: [Case; 3] = [
    Case {
        golden: "arm",
        variant: "paper",
        released: false,
    },
    Case {
        golden: "arm",
        variant: "released",
        released: true,
    },
    Case {
        golden: "mask",
        variant: "paper",
        released: false,
    },
];

impl Case {
    fn student(&self) -> Model {
        let mut model = Model::load(&golden(self.golden), UnknownKeys::REFUSE).expect(self.golden);
        model.architecture.reuse_as_released = self.released;
        model
    }

    fn theirs(&self) -> Loaded {
        load(&format!("{}.safetensors", self.golden))
    }
}

/// Each row is the same alone and in a batch.
#[test]
fn hidden_states() {
    let rows = ["a", "b"];
    for case in CASES {
        let (variant, theirs) = (case.variant, case.theirs());
        let audio = rows.map(|row| values(&theirs, &format!("audio/{row}")));
        let model = case.student();
        let pass = Forward::frozen(&model, OPEN, Precision::F32);
        let batch = pass.hiddens(&audio, &[1, 2, 3, 4], Convention::Hf);
        for (r, row) in rows.into_iter().enumerate() {
            let alone = pass.hiddens(&[audio[r]], &[1, 2, 3, 4], Convention::Hf);
            for (l, (alone, batch)) in alone.iter().zip(&batch).enumerate() {
                let name = format!("{variant}/hidden/{row}/{}", l + 1);
                let width = batch.width();
                let frames = batch.spans.of(r);
                close(&name, &read(&alone.values), values(&theirs, &name));
                let in_batch = &read(&batch.values)[frames.start * width..frames.end * width];
                close(&name, in_batch, values(&theirs, &name));
            }
        }
    }
}

/// The rows of a golden step.
struct Rows<'a> {
    names: &'a [&'a str],
    theirs: &'a Loaded,
}

impl Rows<'_> {
    fn each(&self, name: &str) -> Vec<&[f32]> {
        let rows = self.names.iter();
        rows.map(|row| values(self.theirs, &format!("{name}/{row}")))
            .collect()
    }

    fn masks(&self) -> Vec<Vec<bool>> {
        let rows = self.each("mask").into_iter();
        rows.map(|row| row.iter().map(|masked| *masked > 0.0).collect())
            .collect()
    }

    fn ids(&self) -> Arc<StringArray> {
        Arc::new(StringArray::from(self.names.to_vec()))
    }

    fn mask_batch(&self) -> crate::Batch {
        let masks = self.masks();
        let views = UInt64Array::from(vec![0; masks.len()]);
        column::batch(vec![
            (ID, self.ids()),
            (MASK, Arc::new(column::flag_lists(&masks)) as _),
            (VIEW, Arc::new(views) as _),
        ])
        .expect("a batch")
    }

    /// Returns targets (layers, frames, 24) of each row as targets of the batch.
    fn targets(&self, name: &str) -> Targets {
        const WIDTH: usize = 24;
        let rows = self.each(name);
        let frames = |row: &&[f32]| row.len() / (LAYERS * WIDTH);
        let spans = Spans::new(rows.iter().map(frames));
        let layer = |l: usize| -> Hidden {
            let of_layer = |row: &&[f32]| {
                let numbers = frames(row) * WIDTH;
                row[l * numbers..(l + 1) * numbers].to_vec()
            };
            let numbers: Vec<f32> = rows.iter().flat_map(of_layer).collect();
            hidden(numbers, WIDTH, spans.clone())
        };
        Targets::new(self.ids(), (0..LAYERS).map(layer).collect())
    }
}

/// Runs a loss node of the graph armhubert on heads' outputs.
fn run_loss(
    rows: &Rows,
    heads: &[(usize, Hidden<Tape>)],
    target: &str,
    frames: &str,
    tape: &Tape,
) -> Scalar {
    let options: Options = serde_json::from_value(json!({
        "terms": [{ "type": "mse" }],
        "layer_weights": [0.1, 0.1, 0.1, 1],
        "reduce": "sum",
        "frames": frames,
        "mean_over": "all",
    }))
    .expect("options");
    let shape = Shape::Hiddens {
        layers: (1..=LAYERS).collect(),
        width: 24,
        step: FrameStep::default(),
        content: Content::Layers,
    };
    let mut context = NodeContext::alone("match", Arc::new(ReportedLines::default()), |_| ());
    for port in ["student", "target"] {
        context.inputs.insert(port, vec![shape.clone()]);
    }
    context.inputs.insert(port::MASK.name, vec![Shape::Plain]);
    options.checked(&context.inputs).expect("a loss that fits");
    let mut node = options.build(&context).expect("a node");
    let hiddens = Hiddens {
        layers: heads.to_vec(),
    };
    let inputs = HashMap::from([
        ("student".to_owned(), vec![Value::Hiddens(hiddens)]),
        (
            "target".to_owned(),
            vec![Value::Targets(rows.targets(target))],
        ),
        ("mask".to_owned(), vec![Value::Batch(rows.mask_batch())]),
    ]);
    let info = StepInfo::default();
    let mut step = Step::new(info, &context, tape.clone(), inputs, &mut []);
    node.run(&mut step).expect("a step");
    match step.into_outputs().remove("loss") {
        Some(Value::Scalar(loss)) => loss,
        _ => panic!("no loss"),
    }
}

/// One update: loss, parts and gradients, of one row and of two unequal ones, with gradients of
/// layers summed and averaged.
#[test]
fn an_update_by_masking_distillation() {
    for case in CASES {
        let (variant, theirs) = (case.variant, case.theirs());
        let head = |name: String| param(values(&theirs, &name).to_vec());
        let heads: Vec<[Param; 2]> = (0..LAYERS)
            .map(|i| ["weight", "bias"].map(|kind| head(format!("heads/{i}.{kind}"))))
            .collect();
        let model = case.student();
        for (way, average_gradients) in [("sum", false), ("mean", true)] {
            for names in [&["a"][..], &["a", "b"]] {
                let rows = Rows {
                    names,
                    theirs: &theirs,
                };
                let tape = Tape::default();
                let gates = BTreeMap::new();
                let pass = Forward {
                    average_gradients,
                    frozen_parts: 0,
                    ..Forward::without_dropout(&model, &gates, Precision::F32, tape.clone())
                };
                let outputs = Outputs {
                    layers: &[1, 2, 3, 4],
                    maps: &[],
                    encoder_output: false,
                    convention: Convention::Hf,
                };
                let features = pass.features(&rows.each("audio"));
                let hiddens = pass.encode(features, Some(&rows.masks()), outputs).hiddens;
                let mut projected = vec![];
                for (l, (x, [weight, bias])) in hiddens.into_iter().zip(&heads).enumerate() {
                    projected.push((l + 1, linear(x, weight, bias, Precision::F32)));
                }
                let masked = run_loss(&rows, &projected, "target", "masked", &tape);
                let unmasked = run_loss(&rows, &projected, "masked_target", "unmasked", &tape);
                let key = format!("{variant}/{way}/{}", names.concat());
                for (part, loss) in [("masked", &masked), ("unmasked", &unmasked)] {
                    let name = format!("{key}/{part}");
                    close(&name, &[loss.parts[1].1], values(&theirs, &name));
                    close(&name, &read(&loss.value), values(&theirs, &name));
                }
                let total = plus(masked.value, unmasked.value);
                let value = read_all([&total]).remove(0);
                close(&key, &value, values(&theirs, &format!("{key}/loss")));

                let mut gradients = backward(total, 1.0);
                let mut compare = |name: &str, p: &Param| {
                    let name = format!("{key}/grad/{name}");
                    close(&name, &gradient(&mut gradients, p), values(&theirs, &name));
                };
                for name in [
                    "encoder.layers.0.attention.q_proj.weight",
                    "encoder.layers.2.attention.v_proj.weight",
                    "feature_extractor.conv_layers.2.conv.weight",
                    "masked_spec_embed",
                ] {
                    compare(name, model.weights.get(name));
                }
                compare("heads/1.weight", &heads[1][0]);
            }
        }
    }
}
