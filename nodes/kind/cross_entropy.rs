//! HuBERT's loss (Hsu et al. 2021, arXiv:2106.07447, equation 1): the cross-entropy of the logits
//! against cluster labels,
//!
//!   Σ_t w_t · -ln softmax(y_t)_label / #{t: w_t > 0}
//!
//! with the weight w_t = `masked` of a masked frame, `unmasked` of another, and 0 of a frame
//! without a label. Without a mask every labelled frame has w_t = `weight`. The numbers of labels
//! and frames of a row may differ by a few (module `frames`).
//!
//! Labels of utterances go with logits of utterances, a frame each; several labels of an utterance
//! are of slots (module `slots`).
mod frames;
mod slots;
#[cfg(test)]
mod tests;

use crate::Result;
use crate::data::column;
use crate::data::column::{ID, LABELS};
use crate::node::port::{
    self, Carries, Content, FrameStep, LabelledUnit, Port, Ports, Scalar, Shape, Shapes, Value,
    shape_of,
};
use crate::node::step::Step;
use crate::node::{
    Config, HiddenInput, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs,
    shapes,
};
use frames::{LabelledFrames, Weights, aligned_labels, aligned_masks};
use schemars::JsonSchema;
use serde::Deserialize;
use slots::Slots;

/// The cross-entropy of logits against labels, of masked frames or of all.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Weight of the masked frames; null: 1.
    #[serde(default)]
    masked: Option<f64>,
    /// Weight of the others; null: 0.
    #[serde(default)]
    unmasked: Option<f64>,
    /// Without a mask, the weight of every frame; null: 1.
    #[serde(default)]
    weight: Option<f64>,
    /// The numbers of classes of the slots of an utterance, whose logits lie side by side; null: an
    /// utterance has one label.
    #[serde(default)]
    slots: Option<Vec<usize>>,
}

const LOGITS: &str = "logits";
const IN: &str = "labels";
const OUT: &str = "loss";
/// The metric of the loss.
const LOSS: &str = "loss_ce";
const ACCURACY: &str = "accuracy";
const F1: &str = "f1";
impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[
            Port::new(LOGITS, Carries::Hiddens),
            Port::new(IN, Carries::Batch(LABELS)),
            port::MASK,
        ],
        outputs: &[Port::new(OUT, Carries::Scalar)],
    };
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let is_masked = inputs.contains_key(port::MASK.name);
        let mut errors = self.weight_errors(is_masked);
        if self.slots.is_some() && is_masked {
            let message = "is for labels of utterances, which no mask tells apart";
            errors.push(OptionError::option("slots", message));
        }
        if let Some(HiddenInput {
            layers,
            width,
            step,
            content,
        }) = HiddenInput::find(LOGITS, inputs)
        {
            if layers.len() != 1 {
                errors.push(OptionError::input(LOGITS, "takes the logits of one layer"));
            }
            if is_masked {
                errors.extend(step.mask_error(LOGITS));
            }
            let sizes = self.slots.iter();
            errors.extend(sizes.filter_map(|sizes| slots::size_error(sizes, width)));
            if let Some(Shape::Labels {
                classes,
                numbering,
                of,
            }) = shape_of(inputs, IN)
            {
                errors.extend(self.unit_error(*of, step));
                if let Some(classes) = classes.filter(|classes| *classes > width) {
                    errors.push(OptionError::at(
                        "inputs",
                        format!("`{IN}` are of {classes} clusters, `{LOGITS}` of {width} classes"),
                    ));
                }
                let labels = Content::Logits(*numbering);
                errors.extend(labels.numbering_error(IN, content, LOGITS));
            }
        }
        OptionError::fail_if_any(errors)?;
        let mut metrics = vec![LOSS];
        metrics.extend(self.weights(is_masked).accuracies().map(|(name, _)| name));
        if counts_f1(inputs) && self.slots.is_none() {
            metrics.push(F1);
        }
        Ok(NodeInfo {
            outputs: shapes([(OUT, Shape::loss(&metrics))]),
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let is_masked = context.inputs.contains_key(port::MASK.name);
        Ok(Box::new(CrossEntropy {
            weights: self.weights(is_masked),
            slots: self.slots.as_deref().map(Slots::new),
            counts_f1: counts_f1(&context.inputs),
            joined: HiddenInput::known(LOGITS, &context.inputs)?.step.joined,
        }))
    }
}

/// Whether the rows are utterances of one label each, of which the F1 is a metric too.
fn counts_f1(inputs: &Shapes) -> bool {
    matches!(
        shape_of(inputs, IN),
        Some(Shape::Labels {
            of: LabelledUnit::Utterance,
            ..
        })
    )
}

struct CrossEntropy {
    weights: Weights,
    slots: Option<Slots>,
    counts_f1: bool,
    /// Frames of 20 ms that a model joined before it split them again.
    joined: usize,
}

impl Node for CrossEntropy {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let layers = step.hiddens(LOGITS)?.layers;
        let (_, logits) = layers.into_iter().next().ok_or("no logits came")?;
        let labels = step.batch(IN)?;
        let masks = step.masks()?;
        if let Some(slots) = &self.slots {
            let (loss, outcomes) = slots.loss(&logits, &labels, ACCURACY)?;
            let loss = self.weights.slots_loss(loss, outcomes);
            return self.send(loss, step);
        }
        let ids = column::texts(&labels, ID)?.iter();
        let ids = ids.map(|id| id.unwrap_or_default().to_owned()).collect();
        let labels = aligned_labels(&labels, &logits)?;
        let masked = match &masks {
            Some(masks) => aligned_masks(masks, &logits.spans, self.joined)?,
            None => vec![false; labels.len()],
        };
        let frames = LabelledFrames {
            ids,
            masked,
            labels,
        };
        let loss = self.weights.loss(logits, &frames, self.counts_f1);
        self.send(loss, step)
    }
}

impl CrossEntropy {
    fn send(&self, loss: Scalar, step: &mut Step) -> Result<()> {
        let loss = Scalar {
            node: step.context.node.clone(),
            ..loss
        };
        step.send(OUT, Value::Scalar(loss));
        Ok(())
    }
}

impl Options {
    fn weights(&self, is_masked: bool) -> Weights {
        if is_masked {
            Weights::ByMask {
                masked: self.masked.unwrap_or(1.0),
                unmasked: self.unmasked.unwrap_or(0.0),
            }
        } else {
            Weights::Alike(self.weight.unwrap_or(1.0))
        }
    }

    /// Checks that labels and logits are both of frames or both of utterances.
    fn unit_error(&self, of: LabelledUnit, logits: FrameStep) -> Option<OptionError> {
        if self.slots.is_some() && !logits.pooled {
            let message = "is for labels of utterances";
            return Some(OptionError::option("slots", message));
        }
        of.error_unless(LabelledUnit::of_step(logits), IN)
    }

    fn weight_errors(&self, is_masked: bool) -> Vec<OptionError> {
        let mut errors = vec![];
        for (option, weight, needs_mask) in [
            ("masked", self.masked, true),
            ("unmasked", self.unmasked, true),
            ("weight", self.weight, false),
        ] {
            let Some(weight) = weight else {
                continue;
            };
            errors.extend(OptionError::unless(
                weight >= 0.0 && weight.is_finite(),
                option,
                format!("{weight} is not a number from 0"),
            ));
            let message = if needs_mask {
                "is for frames that the input `mask` tells apart, which nothing feeds"
            } else {
                "is for all frames alike; with the input `mask` say `masked` and `unmasked`"
            };
            errors.extend(OptionError::unless(
                needs_mask == is_masked,
                option,
                message,
            ));
        }
        let learns = match self.weights(is_masked) {
            Weights::ByMask { masked, unmasked } => masked != 0.0 || unmasked != 0.0,
            Weights::Alike(weight) => weight != 0.0,
        };
        if !learns {
            errors.push(OptionError::at(
                "",
                if is_masked {
                    "options `masked` and `unmasked`: both are 0, so nothing would be learned"
                } else {
                    "option `weight`: is 0, so nothing would be learned"
                },
            ));
        }
        errors
    }
}
