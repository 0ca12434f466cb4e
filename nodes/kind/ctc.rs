//! Connectionist temporal classification of what is said ([`compute::op::ctc`]), and its error rates
//! by greedy decoding: the most probable class of each frame, repeats merged, blanks removed.
#[cfg(test)]
mod tests;

use crate::Result;
use crate::data::column;
use crate::data::column::{ID, SEQUENCE, SEQUENCES};
use crate::data::printable::printable;
use crate::data::scores::edits;
use crate::data::transcripts::{Units, Vocabulary};
use crate::node::outcomes::{Outcome, Outcomes, Rule};
use crate::node::port::{Carries, Port, Ports, Scalar, Shape, Shapes, Value, shape_of};
use crate::node::step::Step;
use crate::node::{
    Config, HiddenInput, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs,
    shapes,
};
use compute::op::{argmax, ctc, ctc_frames};
use compute::tensor::{Hidden, Tape, read};
use schemars::JsonSchema;
use serde::Deserialize;

/// Connectionist temporal classification (CTC) of what is said, with error rates by greedy decoding.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Whether a row with too few frames for its labels counts as a loss of 0, as in PyTorch;
    /// otherwise it is an error.
    #[serde(default)]
    zero_infinity: bool,
}

const LOGITS: &str = "logits";
const IN: &str = "labels";
const OUT: &str = "loss";
const LOSS: &str = "loss_ctc";

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[
            Port::new(LOGITS, Carries::Hiddens),
            Port::new(IN, Carries::Batch(SEQUENCES)),
        ],
        outputs: &[Port::new(OUT, Carries::Scalar)],
    };
}

/// An error rate.
#[derive(Clone, Copy)]
enum Rate {
    Phones,
    Letters,
    Words,
}

impl Rate {
    /// Returns the error rates of sequences of these units.
    fn of(units: Units) -> &'static [Rate] {
        match units {
            Units::Phones => &[Rate::Phones],
            Units::Words => &[Rate::Words],
            Units::Letters => &[Rate::Words, Rate::Letters],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Rate::Phones => "per",
            Rate::Letters => "cer",
            Rate::Words => "wer",
        }
    }

    /// Returns what the rate counts of a sequence of units.
    fn counted(self, units: Units, sequence: &[&str]) -> Vec<String> {
        if units != Units::Letters {
            return sequence.iter().map(|unit| (*unit).to_owned()).collect();
        }
        let text = sequence.concat().replace(Vocabulary::SPACE, " ");
        let words = text.split_whitespace().map(String::from);
        match self {
            Rate::Letters => {
                let text = words.collect::<Vec<_>>().join(" ");
                text.chars().map(String::from).collect()
            }
            Rate::Phones | Rate::Words => words.collect(),
        }
    }
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let mut errors = vec![];
        let mut metrics = vec![LOSS];
        let vocabulary = match shape_of(inputs, IN) {
            Some(Shape::Sequences { vocabulary }) => Some(vocabulary),
            _ => None,
        };
        if let Some(vocabulary) = vocabulary {
            metrics.extend(Rate::of(vocabulary.units).iter().map(|rate| rate.name()));
        }
        if let Some(HiddenInput { layers, width, .. }) = HiddenInput::find(LOGITS, inputs) {
            if layers.len() != 1 {
                errors.push(OptionError::input(LOGITS, "takes the logits of one layer"));
            }
            if let Some(classes) = vocabulary.map(Vocabulary::classes)
                && classes != width
            {
                errors.push(OptionError::at(
                    "inputs",
                    format!(
                        "`{IN}` have {classes} classes, the blank included, `{LOGITS}` {width}"
                    ),
                ));
            }
        }
        OptionError::fail_if_any(errors)?;
        Ok(NodeInfo {
            outputs: shapes([(OUT, Shape::loss(&metrics))]),
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let Some(Shape::Sequences { vocabulary }) = shape_of(&context.inputs, IN) else {
            return Err("the units of `labels` are unknown".into());
        };
        Ok(Box::new(Ctc {
            options: *self,
            vocabulary: vocabulary.clone(),
        }))
    }
}

struct Ctc {
    options: Options,
    vocabulary: Vocabulary,
}

impl Ctc {
    /// Checks that each row has the frames that its labels need.
    fn check_frames(&self, ids: &[String], labels: &[&[u32]], logits: &Hidden<Tape>) -> Result<()> {
        if self.options.zero_infinity {
            return Ok(());
        }
        for ((id, labels), frames) in ids.iter().zip(labels).zip(logits.spans.lengths()) {
            let needed = ctc_frames(labels);
            if frames < needed {
                return Err(format!(
                    "`{}` has {frames} frames, but its {} labels need {needed}; with \
                     `zero_infinity` such rows are left out",
                    printable(id),
                    labels.len()
                )
                .into());
            }
        }
        Ok(())
    }

    /// Counts the edits of each row.
    fn outcomes(&self, ids: &[String], labels: &[&[u32]], logits: &Hidden<Tape>) -> Vec<Outcomes> {
        let units = self.vocabulary.units;
        let decoded = decode(&argmax(logits), logits);
        let mut metrics = vec![];
        for rate in Rate::of(units) {
            let mut rows = vec![];
            for ((id, labels), decoded) in ids.iter().zip(labels).zip(&decoded) {
                let counted = |row: &[u32]| rate.counted(units, &self.vocabulary.counted(row));
                let reference = counted(labels);
                let edits = edits(&reference, &counted(decoded));
                rows.push(Outcome {
                    id: id.clone(),
                    numbers: [edits as f64, reference.len() as f64],
                });
            }
            metrics.push(Outcomes {
                metric: rate.name().to_owned(),
                rule: Rule::Ratio,
                rows,
            });
        }
        metrics
    }
}

/// Merges repeats and removes blanks from the classes of the frames of each row.
fn decode(classes: &[usize], logits: &Hidden<Tape>) -> Vec<Vec<u32>> {
    let mut rows = vec![];
    for span in logits.spans.iter() {
        let frames = classes[span].chunk_by(|a, b| a == b);
        let merged = frames.map(|run| run[0] as u32);
        rows.push(merged.filter(|class| *class != 0).collect());
    }
    rows
}

impl Node for Ctc {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let layers = step.hiddens(LOGITS)?.layers;
        let (_, logits) = layers.into_iter().next().ok_or("no logits came")?;
        let batch = step.batch(IN)?;
        let labels = column::labels_by_row(&batch, SEQUENCE)?;
        let mut ids = vec![];
        for id in column::texts(&batch, ID)? {
            ids.push(id.unwrap_or_default().to_owned());
        }
        if labels.len() != logits.spans.rows() {
            return Err("labels and logits are of other rows".into());
        }
        self.check_frames(&ids, &labels, &logits)?;
        let outcomes = self.outcomes(&ids, &labels, &logits);
        let value = ctc(logits, &labels);
        let loss = Scalar {
            parts: vec![(LOSS.to_owned(), read(&value)[0])],
            outcomes,
            value,
            weight: labels.len() as f64,
            node: step.context.node.clone(),
        };
        step.send(OUT, Value::Scalar(loss));
        Ok(())
    }
}
