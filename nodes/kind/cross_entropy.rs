//! How unlikely the logits find the labels, HuBERT's loss: with M the masked frames and U the others, w the weights,
//!   Σ over w > 0 of w Σ_t -ln softmax(y_t)_label / frames that count
//! A row may have a label more or less than frames, or two; frames without a label do not count.
use crate::Result;
use crate::data::column;
use crate::data::column::{ID, LABEL, LABELS, MASK, MASKS};
use crate::node::port::{Carries, Port, Ports, Scalar, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs, shapes,
};
use compute::op::{argmax, cross_entropy};
use compute::tensor::{Hidden, Tape, read, scaled};
use schemars::JsonSchema;
use serde::Deserialize;

/// How unlikely the logits find the labels of masked frames.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Weight of the masked frames.
    #[serde(default = "one")]
    masked: f64,
    /// Weight of the others.
    #[serde(default)]
    unmasked: f64,
}

fn one() -> f64 {
    1.0
}

const LOGITS: &str = "logits";
const IN: &str = "labels";
const OUT: &str = "loss";
/// By so many frames labels and logits may differ: manifests of labels are made with other paddings.
const SLACK: usize = 2;

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[
            Port::new(LOGITS, Carries::Hiddens),
            Port::new(IN, Carries::Batch(LABELS)),
            Port::new(MASK.name, Carries::Batch(MASKS)),
        ],
        outputs: &[Port::new(OUT, Carries::Scalar)],
    };
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let mut wrong = vec![];
        for (option, weight) in [("masked", self.masked), ("unmasked", self.unmasked)] {
            if !(weight >= 0.0 && weight.is_finite()) {
                wrong.push(OptionError::at(
                    option,
                    format!("option `{option}`: {weight} is not a number from 0"),
                ));
            }
        }
        if self.masked == 0.0 && self.unmasked == 0.0 {
            wrong.push(OptionError::at(
                "",
                "options `masked` and `unmasked`: both are 0, so nothing would be learned",
            ));
        }
        let first = |port: &str| inputs.get(port).and_then(|shapes| shapes.first());
        if let Some(Shape::Hiddens { layers, .. }) = first(LOGITS)
            && layers.len() != 1
        {
            wrong.push(OptionError::at(
                "inputs.logits",
                "input `logits`: takes the logits of one layer",
            ));
        }
        if let (Some(Shape::Hiddens { width, .. }), Some(Shape::Labels { classes })) =
            (first(LOGITS), first(IN))
            && classes > width
        {
            wrong.push(OptionError::at(
                "inputs",
                format!("`{IN}` are of {classes} clusters, `{LOGITS}` of {width} classes"),
            ));
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
        Ok(Box::new(CrossEntropy { options: *self }))
    }
}

struct CrossEntropy {
    options: Options,
}

impl Node for CrossEntropy {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let layers = step.hiddens(LOGITS)?.layers;
        let logits = layers.into_iter().next().ok_or("no logits came")?.1;
        let (labels, masks) = (step.batch(IN)?, step.batch(MASK.name)?);
        let frames = Frames {
            labels: aligned(&labels, &logits)?,
            masked: column::flags_by_row(&masks, MASK)?.concat(),
        };
        if frames.masked.len() != frames.labels.len() {
            return Err("the mask has other frames than the logits".into());
        }
        let loss = self.options.loss(logits, &frames);
        step.send(
            OUT,
            Value::Scalar(Scalar {
                node: step.context.node.clone(),
                ..loss
            }),
        );
        Ok(())
    }
}

/// Of all frames of a batch, row after row.
struct Frames {
    labels: Vec<Option<u32>>,
    masked: Vec<bool>,
}

impl Options {
    fn loss(self, logits: Hidden<Tape>, frames: &Frames) -> Scalar {
        let weight = |(label, masked): (&Option<u32>, &bool)| match (label, masked) {
            (None, _) => 0.0,
            (_, true) => self.masked as f32,
            (_, false) => self.unmasked as f32,
        };
        let weights: Vec<f32> = frames
            .labels
            .iter()
            .zip(&frames.masked)
            .map(weight)
            .collect();
        let labels: Vec<u32> = frames
            .labels
            .iter()
            .map(|label| label.unwrap_or(0))
            .collect();
        let all: f64 = weights.iter().map(|w| *w as f64).sum();
        let counting = weights.iter().filter(|w| **w > 0.0).count();
        let right: Vec<bool> = argmax(&logits)
            .iter()
            .zip(&labels)
            .map(|(at, label)| *at == *label as usize)
            .collect();
        let value = cross_entropy(logits, &labels, Some(&weights));
        let value = scaled(value, (all / counting.max(1) as f64) as f32);
        let mut parts = vec![("loss_ce".to_owned(), read(&value)[0])];
        for (name, of) in [("accuracy_masked", true), ("accuracy_unmasked", false)] {
            let those = || {
                (0..labels.len()).filter(|t| frames.masked[*t] == of && frames.labels[*t].is_some())
            };
            let share = those().filter(|t| right[*t]).count() as f32 / those().count() as f32;
            parts.extend((!share.is_nan()).then(|| (name.to_owned(), share)));
        }
        Scalar {
            value,
            parts,
            weight: counting as f64,
            node: String::new(),
        }
    }
}

/// The label of each frame of the logits, None where its row has none for it.
fn aligned(batch: &crate::Batch, logits: &Hidden<Tape>) -> Result<Vec<Option<u32>>> {
    let (ids, rows, classes) = (
        column::texts(batch, ID)?,
        column::labels_by_row(batch, LABEL)?,
        logits.width(),
    );
    if rows.len() != logits.spans.rows() {
        return Err("labels and logits are of other rows".into());
    }
    let mut all = Vec::with_capacity(logits.spans.total());
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
        all.extend((0..frames).map(|t| labels.get(t).copied()));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parity::{close, load, values};
    use compute::gemm::Precision;
    use compute::op::{cosine_logits, linear, mean_square};
    use compute::tensor::{Spans, backward, hidden, param, plus};

    /// tests/golden/hubert.py
    #[test]
    fn logits_loss_and_accuracies_are_fairseqs() {
        let golden = load("hubert.safetensors");
        let of = |name: &str| values(&golden, name).to_vec();
        let tape = Tape::default();
        let [x, features] =
            [("x", 12), ("features", 5)].map(|(n, w)| hidden(of(n), w, Spans::new([40])));
        let [w, b, e] = ["weight", "bias", "embeddings"].map(|name| param(of(name)));
        let logits = cosine_logits(linear(x.on(&tape), &w, &b, Precision::F32), &e, 0.1);
        close("logits", &read(&logits.values), &of("logits"));
        let frames = Frames {
            labels: of("labels").iter().map(|l| Some(*l as u32)).collect(),
            masked: of("mask").iter().map(|m| *m == 1.0).collect(),
        };
        let loss = Options {
            masked: 1.0,
            unmasked: 0.5,
        }
        .loss(logits, &frames);
        close("loss", &read(&loss.value), &of("loss"));
        let said: Vec<f32> = loss.parts.iter().map(|(_, value)| *value).collect();
        close(
            "what is logged",
            &said,
            &[of("loss"), of("accuracies")].concat(),
        );
        let penalty = mean_square(features.on(&tape));
        close("penalty", &read(&penalty), &of("penalty"));
        let total = plus(loss.value, scaled(penalty, 10.0));
        close("total", &read(&total), &of("total"));
        let mut gradients = backward(total, 1.0);
        for (name, gradient) in [
            ("x", gradients.of(&x.values)),
            ("features", gradients.of(&features.values)),
        ] {
            close(name, &read(&gradient), &of(&format!("grad/{name}")));
        }
        for (name, p) in [("weight", &w), ("bias", &b), ("embeddings", &e)] {
            close(name, &read(&gradients.of(p)), &of(&format!("grad/{name}")));
        }
    }

    #[test]
    fn frames_without_a_label_do_not_count() {
        let logits =
            || hidden(vec![2.0, 0.0, 0.0, 2.0, 5.0, 5.0], 2, Spans::new([3])).on(&Tape::default());
        let of = |labels: &[u32], count: usize| {
            let ids = std::sync::Arc::new(arrow::array::StringArray::from(vec!["a.wav"]));
            let batch =
                crate::data::labels::batch(ids, labels.to_vec(), &[count]).expect("a batch");
            aligned(&batch, &logits()).map_err(|e| e.to_string())
        };
        assert_eq!(of(&[0, 1], 2), Ok(vec![Some(0), Some(1), None]));
        assert_eq!(of(&[0, 1, 1, 0, 1], 5), Ok(vec![Some(0), Some(1), Some(1)]));
        assert_eq!(
            of(&[0; 6], 6),
            Err("`a.wav` has 3 frames, but 6 labels".into())
        );
        assert_eq!(
            of(&[0, 2], 2),
            Err("`a.wav` has the label 2, but there are 2 classes".into())
        );
        let frames = Frames {
            labels: vec![Some(0), Some(0), None],
            masked: vec![true, false, true],
        };
        let loss = Options {
            masked: 1.0,
            unmasked: 0.0,
        }
        .loss(logits(), &frames);
        let said: Vec<(&str, f32)> = loss
            .parts
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        assert!((said[0].1 - (1.0 + (-2f32).exp()).ln()).abs() < 1e-6 && loss.weight == 1.0);
        assert_eq!(
            said[1..],
            [("accuracy_masked", 1.0), ("accuracy_unmasked", 0.0)]
        );
    }
}
