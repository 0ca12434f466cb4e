//! HuBERT's loss (Hsu et al. 2021, arXiv:2106.07447, equation 1): the cross-entropy of the logits
//! against cluster labels,
//!
//!   Σ_t w_t · -ln softmax(y_t)_label / #{t: w_t > 0}
//!
//! with the weight w_t = `masked` of a masked frame, `unmasked` of another, and 0 of a frame
//! without a label. Without a mask every labelled frame has w_t = `weight`. The numbers of labels and frames of a row may differ by up to `SLACK`.
#[cfg(test)]
mod tests;

use crate::Result;
use crate::data::column;
use crate::data::column::{ID, LABEL, LABELS};
use crate::node::port::{self, Carries, Content, Port, Ports, Scalar, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs, shapes,
};
use compute::op::{argmax, cross_entropy};
use compute::tensor::{Hidden, Tape, read, scaled};
use schemars::JsonSchema;
use serde::Deserialize;

/// The cross-entropy of logits against labels, of masked frames or of all.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
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
}

/// The weights of frames.
#[derive(Clone, Copy)]
enum Weights {
    ByMask { masked: f64, unmasked: f64 },
    Alike(f64),
}

const LOGITS: &str = "logits";
const IN: &str = "labels";
const OUT: &str = "loss";
/// The largest difference between the numbers of labels and frames of a row: label files are made
/// with other paddings.
const SLACK: usize = 2;

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
        let mut errors = self.weight_errors(inputs.contains_key(port::MASK.name));
        let first = |port: &str| inputs.get(port).and_then(|shapes| shapes.first());
        if let Some(Shape::Hiddens {
            layers,
            width,
            content,
            ..
        }) = first(LOGITS)
        {
            if layers.len() != 1 {
                errors.push(OptionError::input(LOGITS, "takes the logits of one layer"));
            }
            if let Some(Shape::Labels { classes, numbering }) = first(IN) {
                if let Some(classes) = classes.filter(|classes| classes > width) {
                    errors.push(OptionError::at(
                        "inputs",
                        format!("`{IN}` are of {classes} clusters, `{LOGITS}` of {width} classes"),
                    ));
                }
                let labels = Content::Logits(*numbering);
                errors.extend(labels.numbering_error(IN, *content, LOGITS));
            }
        }
        OptionError::fail_if_any(errors)?;
        Ok(NodeInfo {
            outputs: shapes([(OUT, Shape::Plain)]),
            ..NodeInfo::default()
        })
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        let is_masked = context.inputs.contains_key(port::MASK.name);
        Ok(Box::new(CrossEntropy {
            weights: self.weights(is_masked),
        }))
    }
}

struct CrossEntropy {
    weights: Weights,
}

impl Node for CrossEntropy {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let layers = step.hiddens(LOGITS)?.layers;
        let (_, logits) = layers.into_iter().next().ok_or("no logits came")?;
        let labels = step.batch(IN)?;
        let masks = step.masks()?;
        let labels = aligned_labels(&labels, &logits)?;
        let frames = LabelledFrames {
            masked: masks.map_or(vec![false; labels.len()], |masks| masks.concat()),
            labels,
        };
        if frames.masked.len() != frames.labels.len() {
            return Err("the mask has other frames than the logits".into());
        }
        let loss = Scalar {
            node: step.context.node.clone(),
            ..self.weights.loss(logits, &frames)
        };
        step.send(OUT, Value::Scalar(loss));
        Ok(())
    }
}

/// All frames of a batch, row after row.
struct LabelledFrames {
    labels: Vec<Option<u32>>,
    masked: Vec<bool>,
}

impl LabelledFrames {
    /// Returns the share of right predictions among the labelled frames that are masked, or that
    /// are not; `None` if there are none.
    fn accuracy(&self, predictions: &[usize], masked: bool) -> Option<f32> {
        let mut frames = 0;
        let mut right = 0;
        for (t, label) in self.labels.iter().enumerate() {
            if let Some(label) = label
                && self.masked[t] == masked
            {
                frames += 1;
                right += usize::from(predictions[t] == *label as usize);
            }
        }
        (frames > 0).then(|| right as f32 / frames as f32)
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

impl Weights {
    fn weight(self, label: Option<u32>, is_masked: bool) -> f32 {
        match (label, self) {
            (None, _) => 0.0,
            (_, Weights::ByMask { masked, unmasked }) => {
                (if is_masked { masked } else { unmasked }) as f32
            }
            (_, Weights::Alike(weight)) => weight as f32,
        }
    }

    fn loss(self, logits: Hidden<Tape>, frames: &LabelledFrames) -> Scalar {
        let weights: Vec<f32> = frames
            .labels
            .iter()
            .zip(&frames.masked)
            .map(|(label, masked)| self.weight(*label, *masked))
            .collect();
        let labels: Vec<u32> = frames.labels.iter().map(|l| l.unwrap_or(0)).collect();
        let total_weight: f64 = weights.iter().map(|weight| *weight as f64).sum();
        let weighted_frames = weights.iter().filter(|weight| **weight > 0.0).count();
        let predictions = argmax(&logits);
        // `cross_entropy` divides by the sum of the weights.
        let mean = cross_entropy(logits, &labels, Some(&weights));
        let value = scaled(mean, (total_weight / weighted_frames.max(1) as f64) as f32);
        let mut parts = vec![("loss_ce".to_owned(), read(&value)[0])];
        let names: &[(&str, bool)] = match self {
            Weights::ByMask { .. } => &[("accuracy_masked", true), ("accuracy_unmasked", false)],
            Weights::Alike(_) => &[("accuracy", false)],
        };
        for &(name, masked) in names {
            if let Some(accuracy) = frames.accuracy(&predictions, masked) {
                parts.push((name.to_owned(), accuracy));
            }
        }
        Scalar {
            value,
            parts,
            weight: weighted_frames as f64,
            node: String::new(),
        }
    }
}

/// Returns the label of each frame of the logits, `None` for frames after a row's last label.
fn aligned_labels(batch: &crate::Batch, logits: &Hidden<Tape>) -> Result<Vec<Option<u32>>> {
    let ids = column::texts(batch, ID)?;
    let rows = column::labels_by_row(batch, LABEL)?;
    let classes = logits.width();
    if rows.len() != logits.spans.rows() {
        return Err("labels and logits are of other rows".into());
    }
    let mut aligned = Vec::with_capacity(logits.spans.total());
    for (row, (labels, frames)) in rows.into_iter().zip(logits.spans.lengths()).enumerate() {
        let id = ids.value(row);
        if labels.len().abs_diff(frames) > SLACK {
            return Err(format!("`{id}` has {frames} frames, but {} labels", labels.len()).into());
        }
        if let Some(label) = labels.iter().find(|label| **label as usize >= classes) {
            return Err(
                format!("`{id}` has the label {label}, but there are {classes} classes").into(),
            );
        }
        for t in 0..frames {
            aligned.push(labels.get(t).copied());
        }
    }
    Ok(aligned)
}
