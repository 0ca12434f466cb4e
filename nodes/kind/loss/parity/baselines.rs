//! One training step of FitHuBERT and of DistilHuBERT by the nodes of their graphs, student, heads and
//! loss, against the methods' own code run row by row (tests/golden/baselines.py).
use crate::KINDS;
use crate::data::column::{self, ID, SAMPLES, VIEW};
use crate::data::file::Loaded;
use crate::data::targets::Targets;
use crate::model::parity::{close, golden, gradient, load, values};
use crate::node::port::{Content, FrameStep, Scalar, Shape, Shapes, Value};
use crate::node::report::ReportedLines;
use crate::node::step::{Step, StepInfo};
use crate::node::{Node, NodeContext, PhaseOutputs};
use arrow::array::{StringArray, UInt64Array};
use compute::tensor::{Hidden, Spans, Tape, backward, hidden, read};
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::sync::Arc;

const WIDTH: usize = 24;

/// A node with its surroundings.
struct Built {
    node: Box<dyn Node>,
    context: NodeContext,
    outputs: Shapes,
}

impl Built {
    fn new(kind: &str, options: Json, inputs: Shapes) -> Built {
        let kind = KINDS.iter().find(|known| known.name == kind).expect(kind);
        let config = (kind.parse)(options).unwrap_or_else(|error| panic!("{error:?}"));
        let info = config.info(&PhaseOutputs::default(), &inputs);
        let info = info.unwrap_or_else(|errors| panic!("{errors:?}"));
        let report = Arc::new(ReportedLines::default());
        let mut context = NodeContext::alone(kind.name, report, |_| ());
        context.inputs = inputs;
        Built {
            node: config.build(&context).expect("a node"),
            context,
            outputs: info.outputs,
        }
    }

    /// Runs a step and returns what comes out of a port.
    fn run(&mut self, inputs: HashMap<String, Vec<Value>>, port: &str, tape: &Tape) -> Value {
        let info = StepInfo::default();
        let mut step = Step::new(info, &self.context, tape.clone(), inputs, &mut []);
        self.node.run(&mut step).expect("a step");
        step.into_outputs().remove(port).expect(port)
    }
}

fn one<const N: usize>(values: [(&str, Value); N]) -> HashMap<String, Vec<Value>> {
    let values = values.into_iter();
    values
        .map(|(port, value)| (port.to_owned(), vec![value]))
        .collect()
}

/// A golden step: its file, and how many layers its target has.
struct Golden<'a> {
    theirs: &'a Loaded,
    layers: usize,
    student: Json,
    heads: Json,
}

impl Golden<'_> {
    fn rows(&self, name: &str, rows: &str) -> Vec<&[f32]> {
        let rows = rows.chars();
        rows.map(|row| values(self.theirs, &format!("{name}/{row}")))
            .collect()
    }

    fn speech(&self, rows: &str) -> Value {
        let audio = self.rows("audio", rows);
        let ids = rows.chars().map(|row| row.to_string());
        let ids = StringArray::from_iter_values(ids);
        let lists = column::list(audio.concat(), audio.iter().map(|row| row.len()));
        let views = UInt64Array::from(vec![0; audio.len()]);
        let batch = column::batch(vec![
            (ID, Arc::new(ids) as _),
            (SAMPLES, Arc::new(lists.expect("lists")) as _),
            (VIEW, Arc::new(views) as _),
        ]);
        Value::Batch(batch.expect("a batch"))
    }

    fn targets(&self, rows: &str) -> Value {
        let ids = rows.chars().map(|row| row.to_string());
        let ids = Arc::new(StringArray::from_iter_values(ids));
        let rows = self.rows("target", rows);
        let frames = |row: &&[f32]| row.len() / (self.layers * WIDTH);
        let spans = Spans::new(rows.iter().map(frames));
        let layer = |l: usize| -> Hidden {
            let of_layer = |row: &&[f32]| {
                let numbers = frames(row) * WIDTH;
                row[l * numbers..(l + 1) * numbers].to_vec()
            };
            let numbers = rows.iter().flat_map(of_layer).collect();
            hidden(numbers, WIDTH, spans.clone())
        };
        Value::Targets(Targets::new(ids, (0..self.layers).map(layer).collect()))
    }

    /// Runs the loss with these options on rows, and returns it with the nodes that have weights.
    fn step(&self, rows: &str, loss: Json) -> (Scalar, [Built; 2]) {
        let tape = Tape::default();
        let speech = Shapes::from([("speech", vec![Shape::Plain])]);
        let mut student = Built::new("student", self.student.clone(), speech);
        let hiddens = student.outputs["hiddens"].clone();
        let inputs = Shapes::from([("hiddens", hiddens)]);
        let mut heads = Built::new("project", self.heads.clone(), inputs);
        let target = Shape::Hiddens {
            layers: (1..=self.layers).collect(),
            width: WIDTH,
            step: FrameStep::default(),
            content: Content::Layers,
        };
        let projected = heads.outputs["hiddens"].clone();
        let inputs = Shapes::from([("student", projected), ("target", vec![target])]);
        let mut matching = Built::new("loss", loss, inputs);

        let speech = one([("speech", self.speech(rows))]);
        let hiddens = student.run(speech, "hiddens", &tape);
        let projected = heads.run(one([("hiddens", hiddens)]), "hiddens", &tape);
        let inputs = one([("student", projected), ("target", self.targets(rows))]);
        match matching.run(inputs, "loss", &tape) {
            Value::Scalar(loss) => (loss, [student, heads]),
            _ => panic!("no loss"),
        }
    }

    /// Compares a step's loss and all gradients that the file has.
    fn compare(&self, rows: &str, loss: Json) -> Scalar {
        let (loss, nodes) = self.step(rows, loss);
        let name = format!("{rows}/loss");
        close(&name, &read(&loss.value), values(self.theirs, &name));
        let mut gradients = backward(loss.value.clone(), 1.0);
        let mut compared = 0;
        for mut built in nodes {
            for parameter in built.node.parameters() {
                let name = format!("{rows}/grad/{}", parameter.name);
                if self.theirs.contains_key(&name) {
                    let ours = gradient(&mut gradients, parameter.weight);
                    close(&name, &ours, values(self.theirs, &name));
                    compared += 1;
                }
            }
        }
        assert_eq!(compared, 4, "gradients of {rows}");
        loss
    }
}

/// Time reduction and a head a layer; the odd last frame of the second row counts nowhere.
#[test]
fn a_step_of_fithubert() {
    let golden_step = Golden {
        theirs: &load("fit.safetensors"),
        layers: 4,
        student: json!({ "init": golden("fit"), "layers": [1, 2, 3, 4] }),
        heads: json!({
            "type": "upsample", "width": WIDTH, "init": golden("fit/heads.safetensors")
        }),
    };
    let loss = |weights: [f64; 4]| {
        let terms = [json!({ "type": "mse" })];
        json!({ "terms": terms, "layer_weights": weights, "reduce": "sum" })
    };
    let weights = [0.1, 0.1, 0.1, 1.0];
    for rows in ["a", "ab"] {
        golden_step.compare(rows, loss(weights));
        for (l, weight) in weights.into_iter().enumerate() {
            let mut alone = [0.0; 4];
            alone[l] = weight;
            let (part, _) = golden_step.step(rows, loss(alone));
            let name = format!("{rows}/layer/{}", l + 1);
            close(&name, &read(&part.value), values(golden_step.theirs, &name));
        }
    }
}

/// An expanding head on the last layer, and a tenth of the gradient for the convolutions.
#[test]
fn a_step_of_distilhubert() {
    let golden_step = Golden {
        theirs: &load("distilhubert.safetensors"),
        layers: 3,
        student: json!({
            "init": golden("distilhubert"), "layers": [2], "feature_gradient": 0.1
        }),
        heads: json!({
            "type": "expand", "targets": 3, "width": WIDTH,
            "init": golden("distilhubert/heads.safetensors")
        }),
    };
    let terms = json!({ "terms": [{ "type": "l1" }, { "type": "log-sigmoid-cosine" }] });
    for rows in ["a", "ab"] {
        let loss = golden_step.compare(rows, terms.clone());
        for (metric, part) in [("loss_l1", "l1"), ("loss_cos", "cosine")] {
            let ours = loss.parts.iter().find(|(name, _)| name == metric);
            let name = format!("{rows}/{part}");
            let (_, ours) = ours.expect(metric);
            close(&name, &[*ours], values(golden_step.theirs, &name));
        }
    }
}
