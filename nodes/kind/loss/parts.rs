//! The numbers that a term is a sum of: of layers, of neighbours, of attention maps.
use super::compared::{Compared, Pair};
use super::frames::MeanOver;
use super::terms::{Term, TermType};
use super::{Loss, Reduce, STUDENT_MAPS, TARGET_MAPS};
use crate::data::column;
use crate::data::column::{FRAMES, MAP};
use crate::node::port::Maps;
use crate::node::step::Step;
use crate::{Batch, Result};
use compute::op::{argmax, gram_distance, logit_divergence, map_divergence, pairs};
use compute::tensor::{Hidden, Number, Spans, Tape, hidden};

/// A number of a term, with its factor in the sum over layers.
pub(super) struct Part {
    pub(super) value: Number<Tape>,
    pub(super) factor: f64,
}

impl Loss {
    /// Returns the parts of a term that compares hidden states.
    pub(super) fn parts(
        &self,
        term: &Term,
        compared: &Compared,
        counted: &[Option<Pair>],
    ) -> Vec<Part> {
        match term.r#type {
            TermType::Gram => within_layers(compared),
            TermType::GramBetween => self.between_layers(&compared.pairs),
            _ => self.distances(term, compared, counted),
        }
    }

    fn distances(&self, term: &Term, compared: &Compared, counted: &[Option<Pair>]) -> Vec<Part> {
        let frames = &compared.frames;
        let share = match self.options.mean_over {
            MeanOver::Chosen => 1.0,
            MeanOver::All => frames.chosen as f64 / frames.total.max(1) as f64,
        };
        let mut parts = vec![];
        for (pair, factor) in counted.iter().zip(&compared.factors) {
            let value = pair.as_ref().and_then(|pair| pair.measure(term));
            if let Some(value) = value {
                parts.push(Part {
                    value,
                    factor: factor * share,
                });
            }
        }
        parts
    }

    /// Relates each layer to the one before it.
    fn between_layers(&self, pairs: &[Pair]) -> Vec<Part> {
        let share = match self.options.reduce {
            Reduce::Mean => 1.0 / pairs.len().saturating_sub(1).max(1) as f64,
            Reduce::Sum => 1.0,
        };
        let weights = self.options.layer_weights.as_ref();
        let mut parts = vec![];
        for (l, neighbours) in pairs.windows(2).enumerate() {
            let [before, after] = neighbours else {
                continue;
            };
            let value = gram_distance(
                before.student.clone(),
                after.student.clone(),
                &before.target,
                &after.target,
            );
            let weight = weights.map_or(1.0, |weights| weights[l + 1]);
            parts.push(Part {
                value,
                factor: share * weight,
            });
        }
        parts
    }

    /// Compares averaged attention maps. Returns how many rows they are of, too.
    pub(super) fn map_parts(&self, step: &mut Step) -> Result<(Vec<Part>, usize)> {
        let Maps { layers } = step.maps(STUDENT_MAPS)?;
        let targets = step.batch(TARGET_MAPS)?;
        let share = match self.options.reduce {
            Reduce::Mean => 1.0 / layers.len().max(1) as f64,
            Reduce::Sum => 1.0,
        };
        let mut parts = vec![];
        for (l, (number, map)) in layers.into_iter().enumerate() {
            let target = target_map(&targets, l)?;
            if target.spans != pairs(&map.spans) {
                let message = format!("the map of layer {number} has other frames than its target");
                return Err(message.into());
            }
            parts.push(Part {
                value: map_divergence(map, &target),
                factor: share,
            });
        }
        Ok((parts, targets.num_rows()))
    }
}

impl Pair {
    /// Returns a distance of frames or a divergence of logits.
    fn measure(&self, term: &Term) -> Option<Number<Tape>> {
        if let Some(distance) = term.r#type.distance() {
            return Some(distance(self.student.clone(), &self.target));
        }
        let compared = term.r#type.logits()?;
        // Of all classes together no target is told apart.
        let classes = self.classes.clone().unwrap_or_else(|| argmax(&self.target));
        Some(logit_divergence(
            compared,
            self.student.clone(),
            &self.target,
            classes,
            term.temperatures(),
        ))
    }
}

/// Relates the frames of each layer to each other.
fn within_layers(compared: &Compared) -> Vec<Part> {
    let pairs = compared.pairs.iter();
    pairs
        .zip(&compared.factors)
        .map(|(pair, factor)| Part {
            value: gram_distance(
                pair.student.clone(),
                pair.student.clone(),
                &pair.target,
                &pair.target,
            ),
            factor: *factor,
        })
        .collect()
}

/// Returns the maps of all rows at the place `layer` of a batch, as frames of width 1.
fn target_map(batch: &Batch, layer: usize) -> Result<Hidden> {
    let frames = column::u32s(batch, FRAMES)?;
    let mut numbers = vec![];
    for (row, &frames) in frames.iter().enumerate() {
        let map = column::floats_of_layer(batch, MAP, row, layer)?;
        if map.len() != frames as usize * frames as usize {
            return Err(format!("the map of row {row} is not {frames} x {frames}").into());
        }
        numbers.extend_from_slice(map);
    }
    let spans = Spans::new(frames.iter().map(|&frames| frames as usize));
    Ok(hidden(numbers, 1, pairs(&spans)))
}
