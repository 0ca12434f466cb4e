//! y_tc = o_rc Σ_i w_ti x_ic: weighted sums of frames of the same row r, such as interpolated ones, in
//! which a factor o_rc closes channels. x, y (frames, width), o (rows, width).
//! dx_ic = o_rc Σ_t w_ti dy_tc, which is the same sum with w transposed.
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use crate::tensor::{DeviceStorage, Hidden, Matrix, NoneTape, Slot, Spans, Track, record_hidden};

/// The weights of the frames that each frame is a sum of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FrameSums {
    /// Where the sources of each frame begin; those of the last end with the list.
    starts: Vec<usize>,
    sources: Vec<usize>,
    weights: Vec<f32>,
}

impl FrameSums {
    /// Adds the next frame: the frames it is a sum of, with their weights.
    pub fn push(&mut self, sources: impl IntoIterator<Item = (usize, f32)>) {
        self.starts.push(self.sources.len());
        for (source, weight) in sources {
            self.sources.push(source);
            self.weights.push(weight);
        }
    }

    fn len(&self) -> usize {
        self.starts.len()
    }

    /// Returns the sources of a frame, by their place in the lists.
    fn places(&self, frame: usize) -> std::ops::Range<usize> {
        let end = self.starts.get(frame + 1).copied();
        self.starts[frame]..end.unwrap_or(self.sources.len())
    }

    /// Returns for each frame of x the frames of y that it is a source of.
    fn transposed(&self) -> FrameSums {
        let mut readers = vec![vec![]; self.len()];
        for frame in 0..self.len() {
            for place in self.places(frame) {
                readers[self.sources[place]].push((frame, self.weights[place]));
            }
        }
        let mut transposed = FrameSums::default();
        for readers in readers {
            transposed.push(readers);
        }
        transposed
    }
}

/// Sums, and the factor of each channel of each frame.
pub struct Combination {
    sums: FrameSums,
    /// The row of each frame.
    rows: Vec<usize>,
    /// o (rows, width)
    open: Vec<f32>,
}

/// What a device must do for [`combine_frames`].
pub trait CombineFramesDevice: DeviceStorage {
    /// A combination in the memory of the device.
    type Plan: 'static;

    fn plan(combination: Combination) -> Self::Plan;

    /// Returns y.
    fn forward(x: &Matrix<NoneTape, Self>, plan: &Self::Plan) -> Matrix<NoneTape, Self>;

    /// Adds the sums of dy, of this `shape`, to dx.
    fn backward(
        dy: Self::Upstream,
        plan: &Self::Plan,
        shape: (usize, usize),
        dx: Self::Accumulator<'_>,
    );
}

/// Replaces each frame by a weighted sum of frames of its row, and multiplies the channels of each
/// row by `open`, (rows, width).
///
/// # Panics
/// If there is not one sum for each frame and one factor for each channel of each row.
pub fn combine_frames<T: Track<D>, D: CombineFramesDevice>(
    x: Hidden<T, D>,
    sums: FrameSums,
    open: Vec<f32>,
) -> Hidden<T, D> {
    let (x, tape) = x.split();
    let shape = (x.spans.total(), x.width());
    assert_eq!(sums.len(), shape.0, "a sum for each frame");
    assert_eq!(open.len(), x.spans.rows() * shape.1, "a factor a channel");
    let rows = rows_of_frames(&x.spans);
    let transposed = D::plan(Combination {
        sums: sums.transposed(),
        rows: rows.clone(),
        open: open.clone(),
    });
    let y = D::forward(&x.values, &D::plan(Combination { sums, rows, open }));
    let slot = Slot::of(&x.values);
    record_hidden(y, x.spans, tape, move |dy, g| {
        D::backward(dy, &transposed, shape, g.at(&slot));
    })
}

fn rows_of_frames(spans: &Spans) -> Vec<usize> {
    let rows = spans.lengths().enumerate();
    rows.flat_map(|(row, frames)| std::iter::repeat_n(row, frames))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, check_op, close, noise};

    #[test]
    fn combine_frames_is_its_formula_and_its_gradient() {
        for width in [3, 8] {
            let case = Case::new(&ROWS, width, &[]);
            let x = case.frames();
            let open: Vec<f32> = noise("open", ROWS.len() * width);
            let mut sums = FrameSums::default();
            let mut reference = vec![];
            for (row, span) in case.x.spans.iter().enumerate() {
                for t in span.clone() {
                    // No source for some frames; others twice, as at the end of a row.
                    let sources = [
                        (span.end - 1, 0.5),
                        (t, -1.5),
                        (t.max(span.start + 2) - 2, 2.0),
                    ];
                    let sources = &sources[..t % 4];
                    sums.push(sources.iter().copied());
                    for c in 0..width {
                        let sum = sources
                            .iter()
                            .map(|(i, w)| f64::from(*w) * x[i * width + c]);
                        reference.push(f64::from(open[row * width + c]) * sum.sum::<f64>());
                    }
                }
            }
            let y = combine_frames(case.x.clone(), sums.clone(), open.clone());
            close(y.read(), &reference, 1e-6);
            check_op!(case, |x, _, _, _| {
                combine_frames(x, sums.clone(), open.clone()).values
            });
        }
    }
}
