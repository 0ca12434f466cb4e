//! The distance of a student's hidden states from a teacher's: Σ over terms of weight · term,
//! averaged or summed over the layers.
//!
//! Student and target are paired by their place in `layers`. Every term is a mean over valid
//! frames.
use crate::Result;
use crate::data::column::TARGETS;
use crate::node::port::{Carries, Port, Ports, Scalar, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs, SummaryMetric,
    shapes,
};
use compute::op::{cosine, l1, log_sigmoid_cosine, mse};
use compute::tensor::{Hidden, Number, Tape, plus, read_all, scaled};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The distance of the student's hiddens from the targets.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The distances that are summed.
    terms: Vec<Term>,
    /// A factor for each layer; null: 1.
    #[serde(default)]
    layer_weights: Option<Vec<f64>>,
    /// How the layers' distances are combined.
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

/// Maps a student's hidden state and its target, (frames, width) each, to one number.
type Distance = fn(Hidden<Tape>, &Hidden) -> Number<Tape>;

impl TermType {
    /// Returns the name of the metric.
    fn metric(self) -> &'static str {
        match self {
            TermType::L1 => L1,
            TermType::Mse => "loss_mse",
            TermType::Cosine | TermType::LogSigmoidCosine => COSINE,
        }
    }

    fn distance(self) -> Distance {
        match self {
            TermType::L1 => l1,
            TermType::Mse => mse,
            TermType::Cosine => cosine,
            TermType::LogSigmoidCosine => log_sigmoid_cosine,
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
const L1: &str = "loss_l1";
const COSINE: &str = "loss_cos";

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[
            Port::new(STUDENT, Carries::Hiddens),
            Port::new(TARGET, Carries::Batch(TARGETS)).tensors(),
        ],
        outputs: &[Port::new(OUT, Carries::Scalar)],
    };
}

impl Options {
    fn term_errors(&self) -> Vec<OptionError> {
        let mut errors = vec![];
        if self.terms.is_empty() {
            errors.push(OptionError::option("terms", "names nothing to measure"));
        }
        for (i, term) in self.terms.iter().enumerate() {
            if !term.weight.is_finite() {
                errors.push(OptionError::element(
                    &format!("terms.{i}.weight"),
                    &format!("terms[{i}].weight"),
                    format!("{} is no number", term.weight),
                ));
            }
        }
        for (i, term) in self.terms.iter().enumerate() {
            let metric = term.r#type.metric();
            let mut earlier = self.terms[..i].iter();
            if earlier.any(|earlier| earlier.r#type.metric() == metric) {
                errors.push(OptionError::element(
                    &format!("terms.{i}"),
                    &format!("terms[{i}]"),
                    format!("a term before it is logged as `{metric}` already"),
                ));
            }
        }
        errors
    }

    fn input_errors(&self, inputs: &Shapes) -> Vec<OptionError> {
        let mut errors = vec![];
        let hiddens = |port: &str| inputs.get(port)?.first()?.hiddens();
        let student = hiddens(STUDENT);
        let target = hiddens(TARGET);
        if let (Some((layers, width)), Some((target_layers, target_width))) = (student, target) {
            if layers != target_layers {
                errors.push(OptionError::at(
                    "inputs",
                    format!(
                        "`{STUDENT}` has {layers} layers, `{TARGET}` {target_layers}: they are \
                         paired one by one"
                    ),
                ));
            }
            if width != target_width {
                errors.push(OptionError::at(
                    "inputs",
                    format!(
                        "`{STUDENT}` is {width} wide, `{TARGET}` {target_width}: put a `project` \
                         between"
                    ),
                ));
            }
        }
        if let (Some(weights), Some((layers, _))) = (&self.layer_weights, student)
            && weights.len() != layers
        {
            errors.push(OptionError::option(
                "layer_weights",
                format!("{} numbers for {layers} layers", weights.len()),
            ));
        }
        errors
    }
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let mut errors = self.term_errors();
        errors.extend(self.input_errors(inputs));
        OptionError::fail_if_any(errors)?;
        Ok(NodeInfo {
            outputs: shapes([(OUT, Shape::Plain)]),
            ..NodeInfo::default()
        })
    }

    fn build(&self, _: &NodeContext) -> Result<Box<dyn Node>> {
        Ok(Box::new(Loss {
            terms: self.terms.clone(),
            layer_weights: self.layer_weights.clone(),
            reduce: self.reduce,
        }))
    }

    /// Returns the distance that is 0 for a student equal to its teacher, if the loss is L1 -
    /// cosine.
    fn summary(&self) -> Option<SummaryMetric> {
        let has = |metric| {
            let mut terms = self.terms.iter();
            terms.any(|term| term.weight == 1.0 && term.r#type.metric() == metric)
        };
        (self.terms.len() == 2 && has(L1) && has(COSINE)).then(|| SummaryMetric {
            label: "L1 + 1 - cosine",
            terms: vec![(L1, 1.0), (COSINE, 1.0)],
            constant: 1.0,
        })
    }
}

struct Loss {
    terms: Vec<Term>,
    layer_weights: Option<Vec<f64>>,
    reduce: Reduce,
}

impl Loss {
    /// Returns the factor of each of `layers` layers in the sum over layers.
    fn layer_factors(&self, layers: usize) -> Vec<f64> {
        let share = match self.reduce {
            Reduce::Mean => 1.0 / layers as f64,
            Reduce::Sum => 1.0,
        };
        match &self.layer_weights {
            Some(weights) => weights.iter().map(|weight| share * weight).collect(),
            None => vec![share; layers],
        }
    }
}

impl Node for Loss {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let student = step.hiddens(STUDENT)?.layers;
        let targets = step.targets(TARGET)?;
        let targets = targets.layers();
        let factors = self.layer_factors(student.len());
        let mut total = Scalar::zero(step.tape()).value;
        let mut distances: Vec<Number<Tape>> = vec![]; // (terms)(layers)
        for term in &self.terms {
            let distance = term.r#type.distance();
            for (((layer, hidden), target), factor) in student.iter().zip(targets).zip(&factors) {
                if hidden.spans != target.spans {
                    return Err(format!(
                        "layer {layer} of the student has other frames than its target"
                    )
                    .into());
                }
                let value = distance(hidden.clone(), target);
                let weighted = scaled(value.clone(), (factor * term.weight) as f32);
                total = plus(total, weighted);
                distances.push(value);
            }
        }
        let numbers = read_all(std::iter::once(&total).chain(&distances));
        let mut parts = vec![("loss_distill".to_owned(), numbers[0][0])];
        for (term, layers) in self.terms.iter().zip(numbers[1..].chunks(student.len())) {
            let weighted = layers
                .iter()
                .zip(&factors)
                .map(|(value, factor)| value[0] as f64 * factor);
            let sum: f64 = weighted.sum();
            parts.push((term.r#type.metric().into(), sum as f32));
        }
        let frames = targets.first().map_or(0, |target| target.spans.total());
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

/// The distances by their names in the reference data.
#[cfg(test)]
pub(crate) mod parity {
    use super::*;

    pub(crate) const DISTANCES: [(&str, Distance); 4] = [
        ("l1", l1),
        ("mse", mse),
        ("cosine", cosine),
        ("log_sigmoid_cosine", log_sigmoid_cosine),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    #[test]
    fn the_summary_is_of_l1_minus_cosine_alone() {
        let label = |terms: Json| {
            let options: Options = serde_json::from_value(json!({ "terms": terms })).unwrap();
            options.summary().map(|summary| summary.label)
        };
        let l1 = json!({ "type": "l1" });
        let cosine = json!({ "type": "cosine" });
        assert_eq!(label(json!([l1, cosine])), Some("L1 + 1 - cosine"));
        assert_eq!(label(json!([cosine, l1])), Some("L1 + 1 - cosine"));
        assert_eq!(label(json!([l1])), None);
        assert_eq!(label(json!([l1, cosine, { "type": "mse" }])), None);
        assert_eq!(
            label(json!([l1, { "type": "cosine", "weight": 0.5 }])),
            None
        );
    }
}
