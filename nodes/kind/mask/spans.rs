//! Which frames of a row are masked: spans of frames, drawn as fairseq's `compute_mask_indices`
//! draws them.
//!
//! ```text
//! spans    max(min_masks, ⌊p n / length + u⌋) for n frames, u uniform in [0, 1)
//! lengths  "static": all `length`; "uniform": integers from 0 to 2 length, or a single span of
//!          `length` if all are 0
//! ```
//!
//! With `overlap`, distinct starts are drawn from all frames but as many as the shortest span has,
//! and spans are cut at the end of the row.
//!
//! Otherwise spans are placed from the longest to the shortest. A free interval is drawn, with a
//! probability proportional to its size if it has room for span and space, and the start in it
//! uniformly. Frames further than `min_space` from the span stay free if the shortest span fits
//! into them. p is then the largest share of frames that can be masked, not the mean.
use super::{Lengths, Options};
use compute::random::Key;
use std::cmp::Reverse;
use std::ops::Range;

#[cfg(test)]
mod tests;

/// The sequence of random numbers for one row in one view.
pub(super) struct Draws {
    key: Key,
    view: u64,
    next: u64,
}

impl Draws {
    /// Begins the sequence. It depends neither on the node nor on the phase, so all experiments
    /// with this seed use the same masks.
    pub(super) fn new(seed: u64, id: &str, view: u64) -> Draws {
        Draws {
            key: Key::new(seed, &["mask", id]),
            view,
            next: 0,
        }
    }

    /// Draws an integer uniformly from 0..n.
    fn below(&mut self, n: usize) -> usize {
        self.next += 1;
        self.key.below(self.view, self.next - 1, n as u64) as usize
    }

    /// Draws a number uniformly from [0, 1).
    fn uniform(&mut self) -> f64 {
        self.next += 1;
        self.key.uniform(self.view, 4 * (self.next - 1)) as f64
    }

    /// Draws `count` distinct elements, or all if there are fewer, in the order drawn.
    pub(super) fn choose(&mut self, mut elements: Vec<usize>, count: usize) -> Vec<usize> {
        let count = count.min(elements.len());
        for i in 0..count {
            let other = i + self.below(elements.len() - i);
            elements.swap(i, other);
        }
        elements.truncate(count);
        elements
    }
}

/// A start and a length.
type Span = (usize, usize);

impl Options {
    /// Draws whether each frame is masked.
    pub(super) fn mask(&self, frames: usize, probability: f64, draws: &mut Draws) -> Vec<bool> {
        let mut mask = vec![false; frames];
        if frames == 0 {
            return mask;
        }
        let lengths = self.span_lengths(frames, probability, draws);
        let spans = if self.overlap {
            overlapping_spans(frames, &lengths, draws)
        } else {
            self.separate_spans(frames, lengths, draws)
        };
        for (start, length) in spans {
            mask[start.min(frames)..(start + length).min(frames)].fill(true);
        }
        mask
    }

    fn span_lengths(&self, frames: usize, probability: f64, draws: &mut Draws) -> Vec<usize> {
        let expected = probability * frames as f64 / self.length as f64;
        let spans = self.min_masks.max((expected + draws.uniform()) as usize);
        let lengths: Vec<usize> = match self.lengths {
            Lengths::Static => vec![self.length; spans],
            Lengths::Uniform => (0..spans)
                .map(|_| draws.below(2 * self.length + 1))
                .collect(),
        };
        if spans > 0 && lengths.iter().all(|&length| length == 0) {
            return vec![self.length.min(frames - 1)];
        }
        lengths
    }

    /// Draws spans with `min_space` frames between them.
    fn separate_spans(
        &self,
        frames: usize,
        mut lengths: Vec<usize>,
        draws: &mut Draws,
    ) -> Vec<Span> {
        lengths.sort_unstable_by_key(|&length| Reverse(length));
        let shortest = lengths.last().copied().unwrap_or(0);
        let mut free = vec![];
        free.push(0..frames);
        let mut spans = vec![];
        for length in lengths {
            let Some(chosen) = self.choose_interval(&free, length, draws) else {
                break;
            };
            let interval = free.remove(chosen);
            let start = interval.start + draws.below((interval.len() - length).max(1));
            spans.push((start, length));
            // An interval ends one frame after the last that may be masked, which alone leaves a
            // `min_space` of 1.
            if start - interval.start >= self.min_space + shortest {
                free.push(interval.start..start + 1 - self.min_space);
            }
            if interval.end - start > length + self.min_space + shortest {
                free.push(start + length + self.min_space..interval.end);
            }
        }
        spans
    }

    /// Draws one of the free intervals that have room for a span of `length`; `None` if there are
    /// none.
    fn choose_interval(
        &self,
        free: &[Range<usize>],
        length: usize,
        draws: &mut Draws,
    ) -> Option<usize> {
        let size = |interval: &Range<usize>| {
            if interval.len() >= length + self.min_space {
                interval.len()
            } else {
                0
            }
        };
        let total: usize = free.iter().map(size).sum();
        if total == 0 {
            return None;
        }
        let mut frame = draws.below(total);
        for (i, interval) in free.iter().enumerate() {
            if frame < size(interval) {
                return Some(i);
            }
            frame -= size(interval);
        }
        None
    }
}

/// Draws spans that may cover one another.
fn overlapping_spans(frames: usize, lengths: &[usize], draws: &mut Draws) -> Vec<Span> {
    let spans = lengths.len();
    let shortest = lengths.iter().copied().min().unwrap_or(0);
    let starts = if frames <= shortest + spans {
        spans + 1
    } else {
        frames - shortest
    };
    let chosen = draws.choose((0..starts).collect(), spans);
    chosen.into_iter().zip(lengths.iter().copied()).collect()
}
