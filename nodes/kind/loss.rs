//! How far a student's hidden states are from a teacher's: Σ over terms of weight · term, over the layers' mean or sum.
//! Student and target are paired by their place in `layers`. Every term is a mean over valid frames.
use crate::Result;
use crate::data::column::TARGETS;
use crate::node::port::{Carries, Port, Ports, Scalar, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs, shapes,
};
use compute::op::{cosine, l1, log_sigmoid_cosine, mse};
use compute::tensor::{Hidden, Number, Tape, plus, read_all, scaled};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far the student's hiddens are from the targets.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// What is summed.
    terms: Vec<Term>,
    /// A factor for each layer; null: 1.
    #[serde(default)]
    layer_weights: Option<Vec<f64>>,
    /// What is made of the layers' distances.
    #[serde(default)]
    reduce: Reduce,
}

#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Term {
    /// The distance, a mean over frames.
    r#type: TermType,
    /// Its factor.
    #[serde(default = "one")]
    weight: f64,
}

fn one() -> f64 {
    1.0
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum TermType {
    L1,
    Mse,
    Cosine,
    LogSigmoidCosine,
}

/// A student's hidden state and its target, (frames, width) each, to one number.
type Distance = fn(Hidden<Tape>, &Hidden) -> Number<Tape>;

impl TermType {
    /// The name in metrics.jsonl, and the term.
    fn known(self) -> (&'static str, Distance) {
        match self {
            TermType::L1 => ("loss_l1", l1),
            TermType::Mse => ("loss_mse", mse),
            TermType::Cosine => ("loss_cos", cosine),
            TermType::LogSigmoidCosine => ("loss_cos", log_sigmoid_cosine),
        }
    }
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Reduce {
    #[default]
    Mean,
    Sum,
}

const STUDENT: &str = "student";
const TARGET: &str = "target";
const OUT: &str = "loss";

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[
            Port::new(STUDENT, Carries::Hiddens),
            Port::new(TARGET, Carries::Batch(TARGETS)).tensors(),
        ],
        outputs: &[Port::new(OUT, Carries::Scalar)],
    };
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let mut wrong = vec![];
        let mut add = |way: &str, says: String| wrong.push(OptionError::at(way, says));
        if self.terms.is_empty() {
            add("terms", "option `terms`: names nothing to measure".into());
        }
        for (i, term) in self
            .terms
            .iter()
            .enumerate()
            .filter(|(_, t)| !t.weight.is_finite())
        {
            add(
                &format!("terms.{i}.weight"),
                format!("option `terms[{i}].weight`: {} is no number", term.weight),
            );
        }
        for (i, term) in self.terms.iter().enumerate() {
            let name = term.r#type.known().0;
            if self.terms[..i].iter().any(|t| t.r#type.known().0 == name) {
                add(
                    &format!("terms.{i}"),
                    format!("option `terms[{i}]`: a term before it is logged as `{name}` already"),
                );
            }
        }
        let of = |port: &str| inputs.get(port)?.first()?.hiddens();
        if let (Some((student, width)), Some((target, wide))) = (of(STUDENT), of(TARGET)) {
            if student != target {
                add(
                    "inputs",
                    format!(
                        "`{STUDENT}` has {student} layers, `{TARGET}` {target}: they are paired one by one"
                    ),
                );
            }
            if width != wide {
                add(
                    "inputs",
                    format!(
                        "`{STUDENT}` is {width} wide, `{TARGET}` {wide}: put a `project` between"
                    ),
                );
            }
        }
        if let (Some(weights), Some((layers, _))) = (&self.layer_weights, of(STUDENT))
            && weights.len() != layers
        {
            add(
                "layer_weights",
                format!(
                    "option `layer_weights`: {} numbers for {layers} layers",
                    weights.len()
                ),
            );
        }
        if wrong.is_empty() {
            Ok(NodeInfo {
                outputs: shapes([(OUT, Shape::Plain)]),
                ..NodeInfo::default()
            })
        } else {
            Err(wrong)
        }
    }
    fn build(&self, _: &NodeContext) -> Result<Box<dyn Node>> {
        let (terms, weights) = (self.terms.clone(), self.layer_weights.clone());
        Ok(Box::new(Loss {
            terms,
            weights,
            reduce: self.reduce,
        }))
    }
}

struct Loss {
    terms: Vec<Term>,
    weights: Option<Vec<f64>>,
    reduce: Reduce,
}

impl Node for Loss {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let (student, targets) = (step.hiddens(STUDENT)?.layers, step.targets(TARGET)?);
        let targets = targets.layers();
        let share = if self.reduce == Reduce::Mean {
            1.0 / student.len() as f64
        } else {
            1.0
        };
        let mut total = Scalar::nothing(step.tape()).value;
        let mut distances: Vec<Number<Tape>> = vec![]; // (terms)(layers)
        let weight = |at: usize| share * self.weights.as_ref().map_or(1.0, |w| w[at]);
        for term in &self.terms {
            let (_, distance) = term.r#type.known();
            for (at, ((layer, hidden), target)) in student.iter().zip(targets).enumerate() {
                if hidden.spans != target.spans {
                    return Err(format!(
                        "layer {layer} of the student has other frames than its target"
                    )
                    .into());
                }
                let value = distance(hidden.clone(), target);
                total = plus(
                    total,
                    scaled(value.clone(), (weight(at) * term.weight) as f32),
                );
                distances.push(value);
            }
        }
        let numbers = read_all(std::iter::once(&total).chain(&distances));
        let mut parts = vec![("loss_distill".to_owned(), numbers[0][0])];
        for (term, layers) in self.terms.iter().zip(numbers[1..].chunks(student.len())) {
            let sum: f64 = layers
                .iter()
                .enumerate()
                .map(|(at, value)| value[0] as f64 * weight(at))
                .sum();
            parts.push((term.r#type.known().0.into(), sum as f32));
        }
        let frames = targets.first().map_or(0, |t| t.spans.total());
        let loss = Scalar {
            value: total,
            parts,
            weight: frames as f64,
            node: step.context.node.clone(),
        };
        step.send(OUT, Value::Scalar(loss));
        Ok(())
    }
}

/// Every term by its golden's name.
#[cfg(test)]
pub(crate) mod parity {
    use super::*;

    pub const DISTANCES: [(&str, Distance); 4] = [
        ("l1", l1),
        ("mse", mse),
        ("cosine", cosine),
        ("log_sigmoid_cosine", log_sigmoid_cosine),
    ];
}
