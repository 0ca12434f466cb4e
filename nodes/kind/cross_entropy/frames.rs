//! The labels of frames or utterances, row after row, and the loss of logits against them.
use super::{ACCURACY, F1, LOSS};
use crate::Result;
use crate::data::column;
use crate::data::column::{ID, LABEL};
use crate::node::outcomes::{Outcome, Outcomes, Rule};
use crate::node::port::Scalar;
use compute::op::{argmax, cross_entropy};
use compute::tensor::{Hidden, Number, Spans, Tape, read, scaled};

/// The weights of frames.
#[derive(Clone, Copy)]
pub(super) enum Weights {
    ByMask { masked: f64, unmasked: f64 },
    Alike(f64),
}

/// The largest difference between the numbers of labels and frames of a row: label files are made
/// with other paddings.
const SLACK: usize = 2;

/// All frames of a batch, row after row.
pub(super) struct LabelledFrames {
    /// The id of each row.
    pub(super) ids: Vec<String>,
    pub(super) labels: Vec<Option<u32>>,
    pub(super) masked: Vec<bool>,
}

impl LabelledFrames {
    /// Counts in each row the right predictions among the labelled frames that are masked, or that
    /// are not.
    fn accuracy(
        &self,
        metric: &str,
        predictions: &[usize],
        spans: &Spans,
        masked: bool,
    ) -> Outcomes {
        let mut rows = vec![];
        for (id, row) in self.ids.iter().zip(spans.iter()) {
            let mut frames = 0;
            let mut right = 0;
            for t in row {
                if let Some(label) = self.labels[t]
                    && self.masked[t] == masked
                {
                    frames += 1;
                    right += u32::from(predictions[t] == label as usize);
                }
            }
            rows.push(Outcome {
                id: id.clone(),
                numbers: [right, frames].map(f64::from),
            });
        }
        Outcomes {
            metric: metric.to_owned(),
            rule: Rule::Ratio,
            rows,
        }
    }

    /// Lists the predicted class and the class of each utterance, whose first frame has its label.
    fn predicted_classes(&self, predictions: &[usize], spans: &Spans) -> Outcomes {
        let mut rows = vec![];
        for (id, row) in self.ids.iter().zip(spans.iter()) {
            let label = self.labels.get(row.start).copied().flatten();
            if let Some(label) = label.filter(|_| !row.is_empty()) {
                rows.push(Outcome {
                    id: id.clone(),
                    numbers: [predictions[row.start] as f64, f64::from(label)],
                });
            }
        }
        Outcomes {
            metric: F1.to_owned(),
            rule: Rule::MacroF1,
            rows,
        }
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

    /// Returns the metrics that count right predictions, and whether of masked frames.
    pub(super) fn accuracies(self) -> impl Iterator<Item = (&'static str, bool)> {
        let metrics: &[(&str, bool)] = match self {
            Weights::ByMask { .. } => &[("accuracy_masked", true), ("accuracy_unmasked", false)],
            Weights::Alike(_) => &[(ACCURACY, false)],
        };
        metrics.iter().copied()
    }

    /// Returns the loss of slots, whose rows weigh alike.
    pub(super) fn slots_loss(self, loss: Number<Tape>, outcomes: Outcomes) -> Scalar {
        let value = scaled(loss, self.weight(Some(0), false));
        Scalar {
            parts: vec![(LOSS.to_owned(), read(&value)[0])],
            weight: outcomes.rows.len() as f64,
            outcomes: vec![outcomes],
            value,
            node: String::new(),
        }
    }

    pub(super) fn loss(
        self,
        logits: Hidden<Tape>,
        frames: &LabelledFrames,
        counts_f1: bool,
    ) -> Scalar {
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
        let spans = logits.spans.clone();
        // `cross_entropy` divides by the sum of the weights.
        let mean = cross_entropy(logits, &labels, Some(&weights));
        let value = scaled(mean, (total_weight / weighted_frames.max(1) as f64) as f32);
        let accuracies = self.accuracies();
        let accuracies =
            accuracies.map(|(name, masked)| frames.accuracy(name, &predictions, &spans, masked));
        let mut outcomes: Vec<Outcomes> = accuracies.collect();
        if counts_f1 {
            outcomes.push(frames.predicted_classes(&predictions, &spans));
        }
        Scalar {
            parts: vec![(LOSS.to_owned(), read(&value)[0])],
            outcomes,
            value,
            weight: weighted_frames as f64,
            node: String::new(),
        }
    }
}

/// Returns the label of each frame of the logits, `None` for frames after a row's last label.
pub(super) fn aligned_labels(
    batch: &crate::Batch,
    logits: &Hidden<Tape>,
) -> Result<Vec<Option<u32>>> {
    let ids = column::texts(batch, ID)?;
    let rows = column::labels_by_row(batch, LABEL)?;
    let classes = logits.width();
    if rows.len() != logits.spans.rows() {
        return Err("labels and logits are of other rows".into());
    }
    // A row of one frame is an utterance, which no padding gives more labels.
    let is_of_utterances = logits.spans.lengths().all(|frames| frames == 1);
    let mut aligned = Vec::with_capacity(logits.spans.total());
    for (row, (labels, frames)) in rows.into_iter().zip(logits.spans.lengths()).enumerate() {
        let id = ids.value(row);
        let has_slots = is_of_utterances && labels.len() > 1;
        if has_slots || labels.len().abs_diff(frames) > SLACK {
            let hint = match has_slots {
                true => "; `slots` names the classes of each",
                false => "",
            };
            let found = labels.len();
            return Err(format!("`{id}` has {frames} frames, but {found} labels{hint}").into());
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

/// Returns whether each frame of the logits is masked.
///
/// Where frames were joined and split again, fewer than `joined` are missing at the end of a row.
pub(super) fn aligned_masks(
    masks: &[Vec<bool>],
    logits: &Spans,
    joined: usize,
) -> Result<Vec<bool>> {
    if masks.len() != logits.rows() {
        return Err("masks and logits are of other rows".into());
    }
    let mut aligned = Vec::with_capacity(logits.total());
    for (row, (mask, frames)) in masks.iter().zip(logits.lengths()).enumerate() {
        let missing = mask.len().checked_sub(frames);
        if missing.is_none_or(|missing| missing >= joined) {
            let flags = mask.len();
            return Err(format!("row {row} has {frames} frames, its mask {flags}").into());
        }
        aligned.extend(&mask[..frames]);
    }
    Ok(aligned)
}
