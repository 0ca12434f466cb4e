//! What is drawn for each row of a batch.
use super::Options;
use compute::op::FrameSums;
use compute::random::Key;
use compute::tensor::Spans;
use std::ops::Range;

/// Draws of one row of a batch.
struct Draws {
    key: Key,
    step: u64,
    next: u64,
}

impl Draws {
    /// Draws a number below `n`; 0 if `n` is 0.
    fn below(&mut self, n: usize) -> usize {
        self.next += 1;
        self.key.below(self.step, self.next, n.max(1) as u64) as usize
    }

    /// Draws `count` ranges of up to `most` of `all` places.
    fn ranges(&mut self, count: usize, most: usize, all: usize) -> Vec<Range<usize>> {
        let mut ranges = vec![];
        for _ in 0..count {
            let width = self.below(most.min(all) + 1);
            let start = self.below(all - width + 1);
            ranges.push(start..start + width);
        }
        ranges
    }
}

impl Options {
    /// Draws the sums of frames and the factors of channels of each row.
    pub(super) fn draw(
        self,
        rows: &Spans,
        width: usize,
        key: Key,
        step: u64,
    ) -> (FrameSums, Vec<f32>) {
        let mut sums = FrameSums::default();
        let mut open = vec![1.0; rows.rows() * width];
        for (row, span) in rows.iter().enumerate() {
            let next = (row as u64) << 32;
            let mut draws = Draws { key, step, next };
            let warped = self.warped(span.len(), &mut draws);
            let bands = draws.ranges(self.frequencies, self.frequency, width);
            for band in bands {
                open[row * width..][..width][band].fill(0.0);
            }
            let masked = draws.ranges(self.times, self.time, span.len());
            for (t, sources) in warped.into_iter().enumerate() {
                if masked.iter().any(|frames| frames.contains(&t)) {
                    sums.push([]);
                } else {
                    sums.push(sources.into_iter().map(|(i, w)| (span.start + i, w)));
                }
            }
        }
        (sums, open)
    }

    /// Returns the frames of a row of `count` that each of its frames is a sum of after the warp.
    fn warped(self, count: usize, draws: &mut Draws) -> Vec<Vec<(usize, f32)>> {
        if self.warp == 0 || count <= 2 * self.warp {
            return (0..count).map(|t| vec![(t, 1.0)]).collect();
        }
        let centre = self.warp + draws.below(count - 2 * self.warp);
        let place = centre - self.warp + draws.below(2 * self.warp) + 1;
        let mut frames = interpolated(0..centre, place);
        frames.extend(interpolated(centre..count, count - place));
        frames
    }
}

/// Returns the sources of `outputs` frames that are interpolated from those of `inputs`.
fn interpolated(inputs: Range<usize>, outputs: usize) -> Vec<Vec<(usize, f32)>> {
    let scale = inputs.len() as f64 / outputs as f64;
    let mut frames = vec![];
    for t in 0..outputs {
        let place = scale * (t as f64 + 0.5) - 0.5;
        let first = place.floor();
        let last = inputs.len() as i64 - 1;
        let mut sources = vec![];
        for (i, weight) in cubic(place - first).into_iter().enumerate() {
            let source = (first as i64 - 1 + i as i64).clamp(0, last);
            if weight != 0.0 {
                sources.push((inputs.start + source as usize, weight as f32));
            }
        }
        frames.push(sources);
    }
    frames
}

/// Returns the weights of the two frames before and the two after a place, `t` behind the second.
fn cubic(t: f64) -> [f64; 4] {
    const A: f64 = -0.75;
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parity::{close, load, values};
    use compute::op::combine_frames;
    use compute::tensor::{hidden, read};

    fn options(json: serde_json::Value) -> Options {
        serde_json::from_value(json).expect("options")
    }

    /// tests/golden/sequence_heads.py
    #[test]
    fn interpolation_is_pytorchs() {
        let golden = load("sequence_heads.safetensors");
        let x = values(&golden, "warp/x");
        for outputs in [9, 13, 14, 17] {
            let mut sums = FrameSums::default();
            for sources in interpolated(0..13, outputs) {
                sums.push(sources);
            }
            // Frames behind the outputs, or without an input.
            for _ in outputs..17 {
                sums.push([]);
            }
            let mut padded = x.to_vec();
            padded.resize(17 * 3, 0.0);
            let x = hidden(padded, 3, Spans::new([17]));
            let y = combine_frames(x, sums, vec![1.0; 3]);
            let name = format!("warp/{outputs}");
            close(
                &name,
                &read(&y.values)[..outputs * 3],
                values(&golden, &name),
            );
        }
    }

    #[test]
    fn bands_and_spans_are_closed_as_drawn() {
        let options = options(serde_json::json!({ "warp": 0, "frequency": 7, "time": 5 }));
        let rows = Spans::new([40, 3, 0]);
        let (sums, open) = options.draw(&rows, 20, Key::new(1, &["a"]), 5);
        let ones = hidden(vec![1.0; 43 * 20], 20, rows.clone());
        let y = combine_frames(ones, sums, open);
        let y = read(&y.values);
        let closed_frames = y
            .chunks(20)
            .take(40)
            .filter(|f| f.iter().all(|x| *x == 0.0));
        let closed_frames = closed_frames.count();
        assert!((1..=10).contains(&closed_frames), "{closed_frames}");
        let is_closed = |c: &usize| y.chunks(20).take(40).all(|frame| frame[*c] == 0.0);
        let closed_channels = (0..20).filter(is_closed).count();
        assert!((1..=28).contains(&closed_channels), "{closed_channels}");
        assert!(y.iter().all(|x| *x == 0.0 || *x == 1.0));
    }

    /// s3prl's draws: the place is from c - w + 1 to c + w, so up to w from the centre.
    #[test]
    fn a_row_keeps_its_frames_and_its_ends() {
        let options = options(serde_json::json!({}));
        for step in 0..200 {
            let key = Key::new(1, &["b"]);
            let mut draws = Draws { key, step, next: 0 };
            let warped = options.warped(30, &mut draws);
            assert_eq!(warped.len(), 30);
            for (t, sources) in warped.iter().enumerate() {
                let sum: f32 = sources.iter().map(|(_, weight)| weight).sum();
                assert!((sum - 1.0).abs() < 1e-5);
                let near = sources.iter().all(|(source, _)| source.abs_diff(t) <= 8);
                assert!(near, "{t}: {sources:?}");
            }
            let mut draws = Draws { key, step, next: 0 };
            let short = options.warped(10, &mut draws);
            assert!(short.iter().enumerate().all(|(t, s)| *s == [(t, 1.0)]));
        }
    }
}
