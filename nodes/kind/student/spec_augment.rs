//! Masks on log-mel frames in training (SpecAugment, Park et al. 2019): bands of bins and spans of
//! frames become 0, which is their mean after normalisation. Widths are uniform from 0 to the
//! option's, places uniform among those where they fit.
use crate::node::OptionError;
use compute::random::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SpecAugment {
    /// The most bins of a band.
    #[serde(default = "default_frequency")]
    frequency: usize,
    /// Bands of a row.
    #[serde(default = "default_count")]
    frequencies: usize,
    /// The most frames of 10 ms of a span.
    #[serde(default = "default_time")]
    time: usize,
    /// Spans of a row.
    #[serde(default = "default_count")]
    times: usize,
}

fn default_frequency() -> usize {
    30
}

fn default_time() -> usize {
    40
}

fn default_count() -> usize {
    2
}

const MAX_WIDTH: usize = 1 << 16;
const MAX_COUNT: usize = 1 << 10;

impl SpecAugment {
    pub(super) fn errors(self) -> Vec<OptionError> {
        let ranges = [
            ("spec_augment.frequency", self.frequency, MAX_WIDTH),
            ("spec_augment.frequencies", self.frequencies, MAX_COUNT),
            ("spec_augment.time", self.time, MAX_WIDTH),
            ("spec_augment.times", self.times, MAX_COUNT),
        ];
        let outside = ranges.map(|(option, n, most)| OptionError::outside(option, n, 0..=most));
        outside.into_iter().flatten().collect()
    }

    /// Masks the frames, (frames, bins), of row number `row` of the batch of a step.
    pub(super) fn apply(self, frames: &mut [f32], bins: usize, key: Key, step: u64, row: usize) {
        let count = frames.len() / bins;
        let mut draws = (row as u64) << 32;
        let mut draw_below = |n: usize| {
            draws += 1;
            key.below(step, draws, n as u64) as usize
        };
        for _ in 0..self.frequencies {
            let width = draw_below(self.frequency.min(bins) + 1);
            let start = draw_below(bins - width + 1);
            for frame in frames.chunks_exact_mut(bins) {
                frame[start..start + width].fill(0.0);
            }
        }
        for _ in 0..self.times {
            let width = draw_below(self.time.min(count) + 1);
            let start = draw_below(count - width + 1);
            frames[start * bins..(start + width) * bins].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINS: usize = 80;
    const FRAMES: usize = 200;

    fn masked(options: SpecAugment, step: u64, row: usize) -> Vec<f32> {
        let mut frames = vec![1.0; FRAMES * BINS];
        let key = Key::new(1, &["spec-augment"]);
        options.apply(&mut frames, BINS, key, step, row);
        frames
    }

    #[test]
    fn bands_and_spans_are_as_wide_as_drawn() {
        let bands = SpecAugment {
            frequency: 30,
            frequencies: 1,
            time: 40,
            times: 0,
        };
        let spans = SpecAugment {
            frequencies: 0,
            times: 1,
            ..bands
        };
        let mut total_bins = 0;
        let mut total_frames = 0;
        for step in 0..2000 {
            let frames = masked(bands, step, 3);
            let closed = frames[..BINS].iter().filter(|x| **x == 0.0).count();
            assert!(closed <= 30);
            assert!(frames.chunks(BINS).all(|frame| frame == &frames[..BINS]));
            total_bins += closed;

            let frames = masked(spans, step, 3);
            let whole = |frame: &&[f32]| frame.iter().all(|x| *x == 0.0);
            let closed = frames.chunks(BINS).filter(whole).count();
            let zeros = frames.iter().filter(|x| **x == 0.0).count();
            assert!(closed <= 40 && zeros == closed * BINS);
            total_frames += closed;
        }
        // Means of 15 and 20; the standard deviation of a mean of 2000 draws is at most 0.3.
        assert!((total_bins as f64 / 2000.0 - 15.0).abs() < 1.0);
        assert!((total_frames as f64 / 2000.0 - 20.0).abs() < 1.4);
    }

    #[test]
    fn rows_and_steps_draw_their_own_and_short_rows_fit() {
        let options: SpecAugment = serde_json::from_str("{}").expect("defaults");
        assert_eq!(masked(options, 5, 0), masked(options, 5, 0));
        assert_ne!(masked(options, 5, 0), masked(options, 5, 1));
        assert_ne!(masked(options, 5, 0), masked(options, 6, 0));
        for count in 0..4 {
            let mut frames = vec![1.0; count * 4];
            let key = Key::new(1, &["spec-augment"]);
            options.apply(&mut frames, 4, key, 1, 0);
        }
    }
}
