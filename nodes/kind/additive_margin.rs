//! The additive-margin softmax (Wang et al. 2018, arXiv:1801.05599) of one vector x a row, with a
//! weight w_c of each class: the cross-entropy of s (cos(x, w_c) - m [c is the row's class]), a mean
//! over rows, with the scale s and the margin m.
#[cfg(test)]
mod tests;

use crate::Result;
use crate::data::column;
use crate::data::column::{ID, LABEL, LABELS};
use crate::data::printable::printable;
use crate::model::{Dim, Initial, TensorSpec};
use crate::node::contents::FileOption;
use crate::node::outcomes::{Outcome, Outcomes, Rule};
use crate::node::port::{
    Carries, LabelledUnit, Port, Ports, Scalar, Shape, Shapes, Value, shape_of,
};
use crate::node::step::Step;
use crate::node::{
    Config, Head, HiddenInput, KindOptions, Node, NodeContext, NodeInfo, OptionError, Parameter,
    PhaseOutputs, shapes,
};
use compute::math::Dropout;
use compute::op::{argmax, cosine_logits, cross_entropy, residual};
use compute::tensor::{Hidden, Number, Param, Tape, hidden, read};
use schemars::JsonSchema;
use serde::Deserialize;

/// The additive-margin softmax: cross-entropy of cosines, of which that of the right class is made
/// smaller.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The number of classes.
    classes: usize,
    /// Factor of the cosines.
    #[serde(default = "default_scale")]
    scale: f64,
    /// What is subtracted from the cosine with the right class.
    #[serde(default = "default_margin")]
    margin: f64,
    /// The folder of weights that an earlier phase wrote (`$OUT/phase/node`); null: they are drawn.
    #[serde(default)]
    init: Option<String>,
}

fn default_scale() -> f64 {
    30.0
}

fn default_margin() -> f64 {
    0.4
}

const IN: &str = "hiddens";
const LABELS_IN: &str = "labels";
const OUT: &str = "loss";
const LOSS: &str = "loss_am";
const ACCURACY: &str = "accuracy";
const MAX_CLASSES: usize = 1 << 20;

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[
            Port::new(IN, Carries::Hiddens),
            Port::new(LABELS_IN, Carries::Batch(LABELS)),
        ],
        outputs: &[Port::new(OUT, Carries::Scalar)],
    };
    const TRAINS: bool = true;
    const FILES: &[FileOption] = &[FileOption::files("init")];
}

impl Options {
    fn errors(&self) -> Vec<OptionError> {
        let mut errors = vec![];
        errors.extend(OptionError::outside(
            "classes",
            self.classes,
            2..=MAX_CLASSES,
        ));
        errors.extend(OptionError::unless(
            self.scale > 0.0 && self.scale.is_finite(),
            "scale",
            format!("{} is not above 0", self.scale),
        ));
        errors.extend(OptionError::unless(
            self.margin >= 0.0 && self.margin.is_finite(),
            "margin",
            format!("{} is not a number from 0", self.margin),
        ));
        errors
    }

    /// Lists the weight of the classes, drawn as in s3prl (Xavier's normal).
    fn tensors(&self, width: usize) -> Vec<TensorSpec> {
        let deviation = (2.0 / (width + self.classes) as f64).sqrt();
        let dims = [Dim::fixed(self.classes), Dim::fixed(width)];
        let drawn = Initial::Normal(deviation);
        vec![TensorSpec::new("classes.weight".into(), &dims, drawn)]
    }

    /// Returns the scaled cosines with all classes, without the margin.
    fn logits(&self, x: Hidden<Tape>, weight: &Param) -> Hidden<Tape> {
        cosine_logits(x, weight, 1.0 / self.scale as f32)
    }

    fn loss(&self, logits: Hidden<Tape>, labels: &[u32], tape: &Tape) -> Number<Tape> {
        let mut margins = vec![0.0; labels.len() * self.classes];
        for (row, label) in labels.iter().enumerate() {
            margins[row * self.classes + *label as usize] = -(self.scale * self.margin) as f32;
        }
        let margins = hidden(margins, self.classes, logits.spans.clone()).on(tape);
        let logits = residual(logits, margins, Dropout::NONE);
        cross_entropy(logits, labels, None)
    }
}

impl Config for Options {
    fn info(&self, earlier: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let mut errors = self.errors();
        if let Some(Shape::Labels { classes, of, .. }) = shape_of(inputs, LABELS_IN) {
            errors.extend(of.error_unless(LabelledUnit::Utterance, LABELS_IN));
            if let Some(classes) = classes.filter(|classes| *classes > self.classes) {
                let message = format!("is {}, but `{LABELS_IN}` are of {classes}", self.classes);
                errors.push(OptionError::option("classes", message));
            }
        }
        let Some(input) = HiddenInput::find(IN, inputs) else {
            OptionError::fail_if_any(errors)?;
            return Ok(NodeInfo::default());
        };
        if input.layers.len() != 1 || !input.step.pooled {
            errors.push(OptionError::input(
                IN,
                "takes one layer with one frame a row",
            ));
        }
        OptionError::fail_if_any(errors)?;
        let tensors = self.tensors(input.width);
        Ok(NodeInfo {
            outputs: shapes([(OUT, Shape::loss(&[LOSS, ACCURACY]))]),
            ..Head::info(self.init.as_deref(), &tensors, earlier)?
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let input = HiddenInput::known(IN, &context.inputs)?;
        Ok(Box::new(AdditiveMargin {
            head: Head::build(self.init.as_deref(), self.tensors(input.width), context)?,
            options: self.clone(),
        }))
    }
}

struct AdditiveMargin {
    options: Options,
    head: Head,
}

impl AdditiveMargin {
    /// Returns the class of each row.
    fn classes(&self, batch: &crate::Batch, rows: usize) -> Result<Vec<u32>> {
        let ids = column::texts(batch, ID)?;
        let labels = column::labels_by_row(batch, LABEL)?;
        if labels.len() != rows {
            return Err("labels and vectors are of other rows".into());
        }
        let mut classes = vec![];
        for (id, labels) in ids.iter().zip(labels) {
            let id = printable(id.unwrap_or_default());
            let [label] = *labels else {
                return Err(format!("`{id}` has {} labels, not one", labels.len()).into());
            };
            if label as usize >= self.options.classes {
                let classes = self.options.classes;
                return Err(format!(
                    "`{id}` has the label {label}, but there are {classes} classes"
                )
                .into());
            }
            classes.push(label);
        }
        Ok(classes)
    }
}

impl Node for AdditiveMargin {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let layers = step.hiddens(IN)?.layers;
        let (_, x) = layers.into_iter().next().ok_or("no layer came")?;
        let batch = step.batch(LABELS_IN)?;
        let labels = self.classes(&batch, x.spans.rows())?;
        let logits = self.options.logits(x, &self.head.weights()[0]);
        let predicted = argmax(&logits);
        let value = self.options.loss(logits, &labels, step.tape());
        let mut rows = vec![];
        for (row, id) in column::texts(&batch, ID)?.iter().enumerate() {
            let is_right = predicted[row] == labels[row] as usize;
            rows.push(Outcome {
                id: id.unwrap_or_default().to_owned(),
                numbers: [f64::from(u8::from(is_right)), 1.0],
            });
        }
        let loss = Scalar {
            parts: vec![(LOSS.to_owned(), read(&value)[0])],
            outcomes: vec![Outcomes {
                metric: ACCURACY.to_owned(),
                rule: Rule::Ratio,
                rows,
            }],
            value,
            weight: labels.len() as f64,
            node: step.context.node.clone(),
        };
        step.send(OUT, Value::Scalar(loss));
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<()> {
        self.head.save(step)
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        self.head.parameters()
    }
}
