//! Draws which 20 ms frames of each row are hidden from a model (module `spans`), as a function of
//! seed, utterance and view.
mod spans;

use crate::Result;
use crate::data::column;
use crate::data::column::{ID, MASK, MASKS, SAMPLES, SPEECH, VIEW};
use crate::model::Architecture;
use crate::node::port::{Carries, Port, Ports, Shape, Shapes, Value};
use crate::node::step::Step;
use crate::node::{
    Config, KindOptions, Node, NodeContext, NodeInfo, OptionError, PhaseOutputs, shapes,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spans::Draws;
use std::sync::Arc;

/// Draws the frames of each row that are hidden from a model.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Spans times mean length, divided by frames: the share of masked frames if no span overlaps
    /// another or lacks room.
    probability: Probability,
    /// Mean length of a span in frames.
    length: usize,
    /// Lengths of spans: "uniform" from 0 to twice `length`, or "static", all `length`.
    lengths: Lengths,
    /// Whether spans may cover one another.
    overlap: bool,
    /// Least number of frames between spans that may not cover one another.
    min_space: usize,
    /// Least number of spans in a row, where there is room.
    min_masks: usize,
    /// Whether all rows of a batch keep as many masked frames as the row with the fewest.
    same_count: bool,
    /// Whether dev rows are masked too.
    dev: bool,
}

/// A probability, or one that moves linearly over epochs. Dev rows get the last.
#[derive(Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
enum Probability {
    Constant(f64),
    Moving(Ramp),
}

/// `from` in the first epoch, and `to` after this number of epochs (as ARMHuBERT's
/// `mask_prob_schedule`).
#[derive(Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ramp {
    from: f64,
    to: f64,
    epochs: u64,
}

impl Probability {
    /// Returns the probability in an epoch, counted from 0.
    fn in_epoch(self, epoch: u64) -> f64 {
        match self {
            Probability::Constant(p) => p,
            Probability::Moving(ramp) => {
                let share = epoch.min(ramp.epochs) as f64 / ramp.epochs.max(1) as f64;
                ramp.from + (ramp.to - ramp.from) * share
            }
        }
    }

    /// Returns the probability after all epochs.
    fn last(self) -> f64 {
        self.in_epoch(u64::MAX)
    }

    /// Returns what is wrong.
    fn errors(self) -> Vec<OptionError> {
        let probability_error = |option: &str, p: f64| {
            let message = format!("{p} is not from 0 to 1");
            OptionError::unless((0.0..=1.0).contains(&p), option, message)
        };
        match self {
            Probability::Constant(p) => probability_error("probability", p).into_iter().collect(),
            Probability::Moving(ramp) => {
                let mut errors = vec![];
                errors.extend(probability_error("probability.from", ramp.from));
                errors.extend(probability_error("probability.to", ramp.to));
                errors.extend(OptionError::unless(
                    ramp.epochs > 0,
                    "probability.epochs",
                    "0 epochs are no way from one to the other",
                ));
                errors
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Lengths {
    /// From 0 to twice the mean.
    Uniform,
    /// All alike.
    Static,
}

impl Default for Options {
    /// Returns the options of ARMHuBERT (sungnyun/ARMHuBERT), without its equal counts.
    fn default() -> Options {
        Options {
            probability: Probability::Constant(0.8),
            length: 10,
            lengths: Lengths::Uniform,
            overlap: false,
            min_space: 1,
            min_masks: 2,
            same_count: false,
            dev: true,
        }
    }
}

const IN: &str = "speech";
const OUT: &str = "mask";
const MAX_FRAMES: usize = 1 << 16;

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Batch(SPEECH))],
        outputs: &[Port::new(OUT, Carries::Batch(MASKS))],
    };
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, _: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let mut errors = vec![];
        errors.extend(self.probability.errors());
        let ranges = [
            ("length", self.length, 1..=MAX_FRAMES),
            ("min_space", self.min_space, 0..=MAX_FRAMES),
            ("min_masks", self.min_masks, 0..=MAX_FRAMES),
        ];
        for (option, value, range) in ranges {
            errors.extend(OptionError::outside(option, value, range));
        }
        OptionError::fail_if_any(errors)?;
        Ok(NodeInfo {
            outputs: shapes([(OUT, Shape::Plain)]),
            ..NodeInfo::default()
        })
    }

    fn reads_whole_batches(&self) -> Option<&'static str> {
        self.same_count
            .then_some("with `same_count` rows of a batch keep equally many masked frames")
    }

    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        Ok(Box::new(MaskFrames {
            options: self.clone(),
            seed: context.run.seed,
            architecture: Architecture::default(),
        }))
    }
}

struct MaskFrames {
    options: Options,
    seed: u64,
    /// Determines the number of frames of a row.
    architecture: Architecture,
}

impl Node for MaskFrames {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        let ids = column::texts(&batch, ID)?;
        let views = column::u64s(&batch, VIEW)?;
        let rows = column::floats_by_row(&batch, SAMPLES)?;
        let probability = if !step.info.dev {
            self.options.probability.in_epoch(step.info.epoch)
        } else {
            self.options.probability.last()
        };
        let unmasked = step.info.dev && !self.options.dev;
        let mut draws = vec![];
        let mut masks = vec![];
        for (row, samples) in rows.into_iter().enumerate() {
            let mut row_draws = Draws::new(self.seed, ids.value(row), views[row]);
            let frames = self.architecture.frames(samples.len());
            masks.push(if unmasked {
                vec![false; frames]
            } else {
                self.options.mask(frames, probability, &mut row_draws)
            });
            draws.push(row_draws);
        }
        if self.options.same_count {
            equalise_counts(&mut masks, &mut draws);
        }
        let columns = vec![
            (ID, column::get(&batch, ID)?.clone()),
            (MASK, Arc::new(column::flag_lists(&masks)) as _),
            (VIEW, column::get(&batch, VIEW)?.clone()),
        ];
        step.send(OUT, Value::Batch(column::batch(columns)?));
        Ok(())
    }
}

/// Keeps as many masked frames in each row as the row with the fewest has, drawn from its own.
fn equalise_counts(masks: &mut [Vec<bool>], draws: &mut [Draws]) {
    let masked = |mask: &[bool]| (0..mask.len()).filter(|&t| mask[t]).collect::<Vec<_>>();
    let counts = masks.iter().map(|mask| masked(mask).len());
    let fewest = counts.min().unwrap_or(0);
    for (mask, draws) in masks.iter_mut().zip(draws) {
        let kept = draws.choose(masked(mask), fewest);
        mask.fill(false);
        for t in kept {
            mask[t] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_batch_may_keep_equal_counts() {
        let mut draws: Vec<Draws> = (0..9).map(|view| Draws::new(1, "a", view)).collect();
        let drawn: Vec<_> = draws
            .iter_mut()
            .map(|draws| Options::default().mask(150, 0.8, draws))
            .collect();
        let count = |mask: &Vec<bool>| mask.iter().filter(|masked| **masked).count();
        let fewest = drawn.iter().map(count).min().expect("rows");
        let mut kept = drawn.clone();
        equalise_counts(&mut kept, &mut draws);
        for (kept, drawn) in kept.iter().zip(&drawn) {
            assert_eq!(count(kept), fewest);
            let subset = kept.iter().zip(drawn).all(|(kept, drawn)| *drawn || !kept);
            assert!(subset, "only frames that were masked");
        }
        assert!(drawn.iter().any(|mask| count(mask) > fewest));
    }

    #[test]
    fn a_moving_probability_is_linear_by_epoch() {
        let ramp = Probability::Moving(Ramp {
            from: 0.4,
            to: 0.8,
            epochs: 5,
        });
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        for (epoch, p) in [(0, 0.4), (1, 0.48), (5, 0.8), (99, 0.8)] {
            near(ramp.in_epoch(epoch), p);
        }
        near(ramp.last(), 0.8);
        assert!(ramp.errors().is_empty());
        let wrong = Probability::Moving(Ramp {
            from: -0.1,
            to: 1.1,
            epochs: 0,
        });
        assert_eq!(wrong.errors().len(), 3);
    }
}
