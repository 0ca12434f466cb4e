//! Decoupled distillation of logits against mdistiller's own code (tests/golden/decoupled.py).
use crate::data::column::{self, FRAMES, ID, LABEL};
use crate::data::targets::Targets;
use crate::kind::loss::Options;
use crate::model::Numbering;
use crate::model::parity::{close, gradient, load, values};
use crate::node::port::{Content, FrameStep, Hiddens, LabelledUnit, Scalar, Shape, Value};
use crate::node::report::ReportedLines;
use crate::node::step::{Step, StepInfo};
use crate::node::{Config, NodeContext};
use arrow::array::{StringArray, UInt32Array};
use compute::tensor::{Spans, Tape, backward, hidden, read};
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::sync::Arc;

const CLASSES: usize = 9;
/// The frames are those of two rows, which changes nothing.
const ROWS: [usize; 2] = [3, 4];

/// Runs a loss node on the golden logits and returns it with the gradient of the student's.
fn run_loss(terms: Json) -> (Scalar, Vec<f32>) {
    let theirs = load("decoupled.safetensors");
    let options: Options = serde_json::from_value(json!({ "terms": terms })).expect("options");
    let mut context = NodeContext::alone("match", Arc::new(ReportedLines::default()), |_| ());
    let logits = Shape::Hiddens {
        layers: vec![1],
        width: CLASSES,
        step: FrameStep::default(),
        content: Content::Logits(Numbering::Clusters),
    };
    for port in ["student", "target"] {
        context.inputs.insert(port, vec![logits.clone()]);
    }
    let spans = Spans::new(ROWS);
    let ids = Arc::new(StringArray::from(vec!["a", "b"]));
    let student = hidden(values(&theirs, "student").to_vec(), CLASSES, spans.clone());
    let teacher = hidden(values(&theirs, "teacher").to_vec(), CLASSES, spans);
    let tape = Tape::default();
    let layers = vec![(1, student.on(&tape))];
    let targets = Targets::new(ids.clone(), vec![teacher]);
    let mut inputs = HashMap::from([
        (
            "student".to_owned(),
            vec![Value::Hiddens(Hiddens { layers })],
        ),
        ("target".to_owned(), vec![Value::Targets(targets)]),
    ]);
    let is_whole = terms[0]["type"] == "kl";
    if !is_whole {
        let labels = Shape::Labels {
            classes: Some(CLASSES),
            numbering: Numbering::Clusters,
            of: LabelledUnit::FRAME,
        };
        context.inputs.insert("labels", vec![labels]);
        let classes = values(&theirs, "target").iter().map(|c| *c as u32);
        let lists = column::label_lists(classes.collect(), ROWS);
        let frames = UInt32Array::from_iter_values(ROWS.map(|n| n as u32));
        let batch = column::batch(vec![
            (ID, ids),
            (FRAMES, Arc::new(frames) as _),
            (LABEL, Arc::new(lists) as _),
        ]);
        inputs.insert("labels".into(), vec![Value::Batch(batch.expect("a batch"))]);
    }
    options.checked(&context.inputs).expect("a loss that fits");
    let mut node = options.build(&context).expect("a node");
    let mut step = Step::new(StepInfo::default(), &context, tape, inputs, &mut []);
    node.run(&mut step).expect("a step");
    let Some(Value::Scalar(loss)) = step.into_outputs().remove("loss") else {
        panic!("no loss");
    };
    let mut gradients = backward(loss.value.clone(), 1.0);
    (loss, gradient(&mut gradients, &student.values))
}

/// Both parts and the whole, each times the square of the temperature, and their gradients; then
/// both parts with their weights.
#[test]
fn divergences_of_logits_are_those_of_mdistiller() {
    let theirs = load("decoupled.safetensors");
    for temperature in [1, 2, 4] {
        let term = |kind: &str, weight: f64| {
            json!({
                "type": kind, "temperature": temperature, "weight": weight
            })
        };
        for (name, terms) in [
            ("kl", json!([term("kl", 1.0)])),
            ("target-class", json!([term("target-class", 1.0)])),
            ("other-classes", json!([term("other-classes", 1.0)])),
            (
                "decoupled",
                json!([term("target-class", 0.5), term("other-classes", 4.0)]),
            ),
        ] {
            let (loss, gradient) = run_loss(terms);
            let name = format!("{temperature}/{name}");
            close(&name, &read(&loss.value), values(&theirs, &name));
            let name = format!("{name}/grad");
            close(&name, &gradient, values(&theirs, &name));
        }
    }
}

/// Returns the mean over frames of KL(softmax(teacher / t) || softmax(student / s)), and its gradient, in
/// f64.
fn divergence([s, t]: [f64; 2]) -> (f64, Vec<f64>) {
    let theirs = load("decoupled.safetensors");
    let softmax = |logits: &[f32], temperature: f64| {
        let largest = logits.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
        let powers = logits
            .iter()
            .map(|x| ((x - largest) as f64 / temperature).exp());
        let powers: Vec<f64> = powers.collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(|x| x / sum).collect::<Vec<f64>>()
    };
    let frames: usize = ROWS.iter().sum();
    let students = values(&theirs, "student").chunks(CLASSES);
    let mut loss = 0.0;
    let mut gradient = vec![];
    for (student, teacher) in students.zip(values(&theirs, "teacher").chunks(CLASSES)) {
        let student = softmax(student, s);
        for (p, q) in softmax(teacher, t).into_iter().zip(student) {
            loss += p * (p / q).ln() / frames as f64;
            gradient.push((q - p) / s / frames as f64);
        }
    }
    (loss, gradient)
}

/// As Wang et al. train: a temperature of each side, and no square; then with the square, which is of
/// the teacher's temperature.
#[test]
fn each_side_may_have_a_temperature_and_the_square_be_left_out() {
    for (squared, [s, t]) in [
        (false, [0.5, 0.5]),
        (false, [1.0, 0.5]),
        (true, [1.0, 0.5]),
        (true, [3.0, 2.0]),
    ] {
        let term = json!({
            "type": "kl", "temperature": t, "student_temperature": s, "squared": squared
        });
        let (loss, gradient) = run_loss(json!([term]));
        let (expected, slopes) = divergence([s, t]);
        let factor = if squared { t * t } else { 1.0 };
        let name = format!("{s}, {t}, {squared}");
        close(&name, &read(&loss.value), &[(expected * factor) as f32]);
        let slopes: Vec<f32> = slopes.iter().map(|x| (x * factor) as f32).collect();
        close(&name, &gradient, &slopes);
    }
}
