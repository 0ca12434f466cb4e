//! What a step compares: the student's layers beside their targets, and which of these count.
use super::frames::{ChosenFrames, Frames};
use super::{LABELS, Loss, Reduce, STUDENT, TARGET};
use crate::Result;
use crate::node::HiddenInput;
use crate::node::step::Step;
use compute::tensor::{Hidden, Spans, Tape};

/// A layer of the student beside its target, of the same frames.
pub(super) struct Pair {
    pub(super) student: Hidden<Tape>,
    pub(super) target: Hidden,
    /// The target class of each frame; `None` if no label says it.
    pub(super) classes: Option<Vec<usize>>,
}

/// The layers of a step, and which of them and of their frames count.
pub(super) struct Compared {
    /// (layers)
    pub(super) pairs: Vec<Pair>,
    /// The factor of each layer in the sum over layers; 0 for one that does not count.
    pub(super) factors: Vec<f64>,
    pub(super) frames: ChosenFrames,
}

impl Loss {
    /// Returns whether each of `layers` layers counts: the last one, and as many others as are drawn
    /// in an epoch.
    fn counts(&self, layers: usize, step: &Step) -> Vec<bool> {
        let Some(drawn) = self.options.random_layers.filter(|_| step.trains()) else {
            return vec![true; layers];
        };
        let mut others: Vec<usize> = (0..layers.saturating_sub(1)).collect();
        self.layer_draws.shuffle(step.info.epoch, &mut others);
        let mut counts = vec![false; layers];
        for &layer in others.iter().take(drawn).chain(&[layers - 1]) {
            counts[layer] = true;
        }
        counts
    }

    /// Returns the factor of each layer in the sum over layers.
    fn factors(&self, counts: &[bool]) -> Vec<f64> {
        let counted = counts.iter().filter(|counts| **counts).count();
        let share = match self.options.reduce {
            Reduce::Mean => 1.0 / counted as f64,
            Reduce::Sum => 1.0,
        };
        let weight = |layer: usize| match &self.options.layer_weights {
            Some(weights) => weights[layer],
            None => 1.0,
        };
        let factor = |(layer, counts): (usize, &bool)| match counts {
            true => share * weight(layer),
            false => 0.0,
        };
        counts.iter().enumerate().map(factor).collect()
    }

    /// Takes student and target of a step.
    pub(super) fn compared(&self, step: &mut Step) -> Result<Compared> {
        let shape = HiddenInput::find(STUDENT, &step.context.inputs);
        let joined = shape.map_or(1, |shape| shape.step.joined);
        let masks = step.masks()?;
        let masks = masks.filter(|_| self.options.frames != Frames::All);
        let student = step.hiddens(STUDENT)?.layers;
        let targets = step.targets(TARGET)?;
        let targets = targets.layers();
        let none = Spans::new([]);
        let student_spans = student.first().map_or(&none, |(_, x)| &x.spans);
        let target_spans = targets.first().map_or(&none, |x| &x.spans);
        let frames = ChosenFrames::new(
            student_spans,
            target_spans,
            joined,
            self.options.frames,
            masks.as_deref(),
        )?;
        let student_spans = student_spans.clone();
        let target_spans = target_spans.clone();
        let classes = match step.optional_batch(LABELS) {
            Some(labels) => Some(frames.trimmed_labels(&labels)?),
            None => None,
        };
        let width = student.first().map_or(0, |(_, x)| x.width());
        if let Some(class) = classes.iter().flatten().find(|class| **class >= width) {
            return Err(
                format!("a frame has the label {class}, but there are {width} classes").into(),
            );
        }
        let mut pairs = vec![];
        for ((layer, student), target) in student.into_iter().zip(targets) {
            if student.spans != student_spans || target.spans != target_spans {
                let message = format!("layer {layer} has other frames than the layer before it");
                return Err(message.into());
            }
            let target = frames.trimmed(target);
            let classes = classes.clone();
            pairs.push(Pair {
                student,
                target,
                classes,
            });
        }
        let counts = self.counts(pairs.len(), step);
        Ok(Compared {
            factors: self.factors(&counts),
            pairs,
            frames,
        })
    }
}
