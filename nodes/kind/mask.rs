//! `mask`: which 20 ms frames of each row are hidden from a model ([`spans`]): a function of seed, utterance and view.
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

/// Which frames of each row are hidden from a model.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Spans times mean length, by frames: the share of masked frames, but for overlap or want of room.
    probability: f64,
    /// Frames of a span, in the mean.
    length: usize,
    /// Of each span: "uniform" from 0 to twice `length`, or "static".
    lengths: Lengths,
    /// Spans may cover one another.
    overlap: bool,
    /// Frames between spans that do not.
    min_space: usize,
    /// Spans of a row at least, where there is room.
    min_masks: usize,
    /// All rows of a batch keep as many masked frames as the one with the fewest.
    same_count: bool,
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
    /// ARMHuBERT's (sungnyun/ARMHuBERT), but for the equal counts.
    fn default() -> Options {
        Options {
            probability: 0.8,
            length: 10,
            lengths: Lengths::Uniform,
            overlap: false,
            min_space: 1,
            min_masks: 2,
            same_count: false,
        }
    }
}

const IN: &str = "speech";
const OUT: &str = "mask";
const MOST: usize = 1 << 16;

impl KindOptions for Options {
    const PORTS: Ports = Ports {
        inputs: &[Port::new(IN, Carries::Batch(SPEECH))],
        outputs: &[Port::new(OUT, Carries::Batch(MASKS))],
    };
}

impl Config for Options {
    fn info(&self, _: &PhaseOutputs, _: &Shapes) -> Result<NodeInfo, Vec<OptionError>> {
        let mut wrong = vec![];
        if !(0.0..=1.0).contains(&self.probability) {
            let says = format!(
                "option `probability`: {} is not from 0 to 1",
                self.probability
            );
            wrong.push(OptionError::at("probability", says));
        }
        wrong.extend(OptionError::outside("length", self.length, 1..=MOST));
        wrong.extend(OptionError::outside("min_space", self.min_space, 0..=MOST));
        wrong.extend(OptionError::outside("min_masks", self.min_masks, 0..=MOST));
        let info = NodeInfo {
            outputs: shapes([(OUT, Shape::Plain)]),
            ..NodeInfo::default()
        };
        if wrong.is_empty() {
            Ok(info)
        } else {
            Err(wrong)
        }
    }
    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>> {
        Ok(Box::new(Mask {
            options: self.clone(),
            seed: context.run.seed,
            frames: Architecture::default(),
        }))
    }
}

struct Mask {
    options: Options,
    seed: u64,
    /// Tells the frames of a row.
    frames: Architecture,
}

impl Node for Mask {
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let batch = step.batch(IN)?;
        let (ids, views) = (column::texts(&batch, ID)?, column::u64s(&batch, VIEW)?);
        let mut draws: Vec<Draws> = views
            .iter()
            .enumerate()
            .map(|(row, view)| Draws::new(self.seed, ids.value(row), *view))
            .collect();
        let rows = column::floats_by_row(&batch, SAMPLES)?
            .into_iter()
            .zip(&mut draws);
        let mut masks: Vec<Vec<bool>> = rows
            .map(|(samples, draws)| self.options.mask(self.frames.frames(samples.len()), draws))
            .collect();
        if self.options.same_count {
            level(&mut masks, &mut draws);
        }
        let kept = |c| column::get(&batch, c).cloned();
        let columns = vec![
            (ID, kept(ID)?),
            (MASK, Arc::new(column::flag_lists(&masks)) as _),
            (VIEW, kept(VIEW)?),
        ];
        step.send(OUT, Value::Batch(column::batch(columns)?));
        Ok(())
    }
}

/// Leaves each row as many masked frames as the row with the fewest has, drawn from its own.
fn level(masks: &mut [Vec<bool>], draws: &mut [Draws]) {
    let masked = |mask: &[bool]| (0..mask.len()).filter(|&t| mask[t]).collect::<Vec<_>>();
    let fewest = masks
        .iter()
        .map(|mask| masked(mask).len())
        .min()
        .unwrap_or(0);
    for (mask, draws) in masks.iter_mut().zip(draws) {
        let kept = draws.some(masked(mask), fewest);
        mask.fill(false);
        kept.into_iter().for_each(|t| mask[t] = true);
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
            .map(|draws| Options::default().mask(150, draws))
            .collect();
        let count = |mask: &Vec<bool>| mask.iter().filter(|m| **m).count();
        let (mut kept, fewest) = (drawn.clone(), drawn.iter().map(count).min().expect("rows"));
        level(&mut kept, &mut draws);
        for (kept, drawn) in kept.iter().zip(&drawn) {
            assert_eq!(count(kept), fewest);
            assert!(
                kept.iter().zip(drawn).all(|(kept, drawn)| *drawn || !kept),
                "only frames that were masked"
            );
        }
        assert!(drawn.iter().any(|mask| count(mask) > fewest));
    }
}
