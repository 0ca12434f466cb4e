//! Which frames of a row are masked: spans of frames, as fairseq's compute_mask_indices draws them.
//!
//! ```text
//! spans     max(min_masks, ⌊p n / length + u⌋), u uniform in [0, 1), for n frames
//! lengths   "static": all `length`; "uniform": whole numbers from 0 to 2 length, and one of `length` if all are 0
//! overlap   starts are distinct, drawn from as many frames as the shortest span leaves; spans are cut at the row's end
//! apart     longest first: a free interval with room for span and space is drawn by its size, a start in it uniformly,
//!           and what is left on either side, `min_space` away, stays free if the shortest span fits; p is then the most
//!           that is masked, not the mean
//! ```
use super::{Lengths, Options};
use compute::random::Key;
use std::cmp::Reverse;
use std::ops::Range;

/// Draws one after the other of one row in one view.
pub struct Draws {
    key: Key,
    view: u64,
    next: u64,
}

impl Draws {
    /// A function of these alone: neither node nor phase, so that other experiments meet the same masks.
    pub fn new(seed: u64, id: &str, view: u64) -> Draws {
        Draws {
            key: Key::new(seed, &["mask", id]),
            view,
            next: 0,
        }
    }
    /// Uniform in 0 .. n.
    fn below(&mut self, n: usize) -> usize {
        self.next += 1;
        self.key.below(self.view, self.next - 1, n as u64) as usize
    }
    fn uniform(&mut self) -> f64 {
        self.next += 1;
        self.key.uniform(self.view, 4 * (self.next - 1)) as f64
    }
    /// Some of `from`, distinct, in the order drawn.
    pub fn some(&mut self, mut from: Vec<usize>, count: usize) -> Vec<usize> {
        let count = count.min(from.len());
        for i in 0..count {
            let other = i + self.below(from.len() - i);
            from.swap(i, other);
        }
        from.truncate(count);
        from
    }
}

impl Options {
    /// A flag a frame.
    pub fn mask(&self, frames: usize, draws: &mut Draws) -> Vec<bool> {
        let mut mask = vec![false; frames];
        if frames > 0 {
            let lengths = self.lengths(frames, draws);
            let starts = if self.overlap {
                overlapping(frames, &lengths, draws)
            } else {
                self.apart(frames, lengths, draws)
            };
            for (start, length) in starts {
                mask[start.min(frames)..(start + length).min(frames)].fill(true);
            }
        }
        mask
    }

    fn lengths(&self, frames: usize, draws: &mut Draws) -> Vec<usize> {
        let expected = self.probability * frames as f64 / self.length as f64;
        let spans = self.min_masks.max((expected + draws.uniform()) as usize);
        let lengths: Vec<usize> = match self.lengths {
            Lengths::Static => vec![self.length; spans],
            Lengths::Uniform => (0..spans)
                .map(|_| draws.below(2 * self.length + 1))
                .collect(),
        };
        let empty = spans > 0 && lengths.iter().all(|&length| length == 0);
        if empty {
            vec![self.length.min(frames - 1)]
        } else {
            lengths
        }
    }

    /// Starts and lengths of spans that leave frames between them.
    fn apart(
        &self,
        frames: usize,
        mut lengths: Vec<usize>,
        draws: &mut Draws,
    ) -> Vec<(usize, usize)> {
        lengths.sort_unstable_by_key(|&length| Reverse(length));
        let shortest = lengths.last().copied().unwrap_or(0);
        let (mut free, mut spans) = (
            vec![Range {
                start: 0,
                end: frames,
            }],
            vec![],
        );
        for length in lengths {
            let room = |f: &Range<usize>| {
                if f.len() >= length + self.min_space {
                    f.len()
                } else {
                    0
                }
            };
            let all = free.iter().map(room).sum();
            if all == 0 {
                break;
            }
            let (mut at, mut chosen) = (draws.below(all), 0);
            while at >= room(&free[chosen]) {
                at -= room(&free[chosen]);
                chosen += 1;
            }
            let f = free.remove(chosen);
            let start = f.start + draws.below((f.len() - length).max(1));
            spans.push((start, length));
            // An interval ends one frame behind what may be masked, so that `min_space` of 1 is kept by its end alone.
            if start - f.start >= self.min_space + shortest {
                free.push(f.start..start + 1 - self.min_space);
            }
            if f.end - start > length + self.min_space + shortest {
                free.push(start + length + self.min_space..f.end);
            }
        }
        spans
    }
}

/// Starts and lengths of spans that may cover one another.
fn overlapping(frames: usize, lengths: &[usize], draws: &mut Draws) -> Vec<(usize, usize)> {
    let (spans, shortest) = (lengths.len(), lengths.iter().copied().min().unwrap_or(0));
    let starts = if frames <= shortest + spans {
        spans + 1
    } else {
        frames - shortest
    };
    draws
        .some((0..starts).collect(), spans)
        .into_iter()
        .zip(lengths.iter().copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn options(of: &Json) -> Options {
        serde_json::from_value(of.clone()).expect("options of a mask")
    }

    /// Frames masked, and runs of them.
    fn count(mask: &[bool]) -> [usize; 2] {
        let begins = |t: &usize| mask[*t] && (*t == 0 || !mask[t - 1]);
        [
            mask.iter().filter(|m| **m).count(),
            (0..mask.len()).filter(begins).count(),
        ]
    }

    /// fairseq's own draws, in numbers (tests/golden/masks.py): shares by frame, and means over draws.
    #[test]
    fn masks_are_distributed_as_fairseqs() {
        let golden: Json =
            serde_json::from_str(include_str!("../../../tests/golden/masks.json")).expect("JSON");
        let (theirs, ours) = (golden["draws"].as_f64().expect("a count"), 5000);
        let apart = |p: f64| (p * (1.0 - p) * (1.0 / theirs + 1.0 / ours as f64)).sqrt();
        for setting in golden["settings"].as_array().expect("a list") {
            let options = options(&setting["options"]);
            let of = |name: &str| -> Vec<f64> {
                serde_json::from_value(setting[name].clone()).expect(name)
            };
            let frames = of("by_frame").len();
            let masks: Vec<_> = (0..ours)
                .map(|view| options.mask(frames, &mut Draws::new(1, "a", view)))
                .collect();
            for (t, p) in of("by_frame").into_iter().enumerate() {
                let share = masks.iter().filter(|mask| mask[t]).count() as f64 / ours as f64;
                assert!(
                    (share - p).abs() < 4.5 * apart(p) + 1e-4,
                    "frame {t}: {share}, not {p}; {}",
                    setting["options"]
                );
            }
            for (i, name) in ["masked", "runs"].into_iter().enumerate() {
                let mean =
                    masks.iter().map(|mask| count(mask)[i] as f64).sum::<f64>() / ours as f64;
                let spread = of(name)[1] * (1.0 / theirs + 1.0 / ours as f64).sqrt();
                assert!(
                    (mean - of(name)[0]).abs() < 4.5 * spread,
                    "{name}: {mean}, not {}; {}",
                    of(name)[0],
                    setting["options"]
                );
            }
        }
    }

    #[test]
    fn spans_have_their_lengths_and_their_space() {
        let options = options(
            &json!({ "lengths": "static", "length": 5, "min_space": 3, "probability": 0.4 }),
        );
        for view in 0..300 {
            let mask = options.mask(100, &mut Draws::new(1, "a", view));
            let runs: Vec<&[bool]> = mask.chunk_by(|a, b| a == b).collect();
            let inner = &runs[usize::from(!runs[0][0])..];
            assert!(
                inner.iter().all(|run| if run[0] {
                    run.len() == 5
                } else {
                    run.len() >= 3 || inner.ends_with(&[run])
                }),
                "{runs:?}"
            );
            assert!((2..=8).contains(&count(&mask)[1]));
        }
    }

    #[test]
    fn rows_of_any_length() {
        for overlap in [false, true] {
            for min_space in [0, 1, 4] {
                let options =
                    options(&json!({ "overlap": overlap, "min_space": min_space, "min_masks": 3 }));
                for frames in 0..50 {
                    assert_eq!(
                        options
                            .mask(frames, &mut Draws::new(1, "a", frames as u64))
                            .len(),
                        frames
                    );
                }
            }
        }
        let none = options(&json!({ "probability": 0, "min_masks": 0, "length": 1 }));
        let masked: usize = (0..100)
            .map(|view| count(&none.mask(9, &mut Draws::new(1, "a", view)))[0])
            .sum();
        assert_eq!(masked, 0);
    }

    #[test]
    fn a_mask_is_a_function_of_seed_utterance_and_view() {
        let options = options(&json!({}));
        let mask = |seed, id, view| options.mask(99, &mut Draws::new(seed, id, view));
        assert_eq!(mask(1, "a", 2), mask(1, "a", 2));
        for other in [mask(0, "a", 2), mask(1, "b", 2), mask(1, "a", 1)] {
            assert_ne!(mask(1, "a", 2), other);
        }
    }
}
