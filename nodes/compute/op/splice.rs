//! y_t = (f(x_t), f(x_{t+d}), ..., f(x_{t+(k-1)d})) side by side, row by row: the frames that a layer
//! of a time-delay network reads (Peddinti et al. 2015), before its linear map. f is the identity or
//! ReLU: the activation belongs to its consumer, so only x is saved.
//! x (frames, width), y (frames - (k - 1) d a row, k · width).
//! dx_t = f'(x_t) Σ_j dy_{t-jd} of part j.
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use super::windows::windows;
use crate::tensor::{DeviceStorage, Hidden, Matrix, NoneTape, Slot, Spans, Track, record_hidden};

/// Which frames are read together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Context {
    /// Frames that are read together, from 1.
    pub frames: usize,
    /// How far they are from each other, from 1.
    pub dilation: usize,
}

impl Context {
    /// Reads each frame alone.
    pub const ONE: Context = Context {
        frames: 1,
        dilation: 1,
    };

    /// Returns how many frames of a row are lost.
    pub fn lost(self) -> usize {
        (self.frames - 1) * self.dilation
    }
}

/// What is read together of which rows.
pub struct Spliced {
    context: Context,
    /// Whether f is ReLU.
    rectifies: bool,
    /// The rows of x.
    rows: Spans,
    /// The rows of y.
    windows: Spans,
    /// The width of x.
    width: usize,
}

impl Spliced {
    /// Returns the first frame of x that each frame of y reads.
    fn first_frames(&self) -> Vec<usize> {
        let rows = self.rows.iter().zip(self.windows.lengths());
        rows.flat_map(|(row, windows)| row.start..row.start + windows)
            .collect()
    }

    /// Returns for each frame of x the frame of y that it is the first of, past its row's end if
    /// there is none, and the range of the frames of y of its row.
    fn readers(&self) -> Vec<[usize; 3]> {
        let rows = self.rows.lengths().zip(self.windows.iter());
        rows.flat_map(|(frames, windows)| {
            (0..frames).map(move |t| [windows.start + t, windows.start, windows.end])
        })
        .collect()
    }
}

/// What a device must do for [`splice`].
pub trait SpliceDevice: DeviceStorage {
    /// Returns y.
    fn forward(x: &Matrix<NoneTape, Self>, spliced: &Spliced) -> Matrix<NoneTape, Self>;

    /// Adds to the gradient of x.
    fn backward(
        dy: Self::Upstream,
        x: &Matrix<NoneTape, Self>,
        spliced: &Spliced,
        dx: Self::Accumulator<'_>,
    );
}

/// Joins the frames of each context, after ReLU if `rectifies`. Rows that are too short for one
/// become empty.
pub fn splice<T: Track<D>, D: SpliceDevice>(
    x: Hidden<T, D>,
    context: Context,
    rectifies: bool,
) -> Hidden<T, D> {
    let (x, tape) = x.split();
    let spliced = Spliced {
        context,
        rectifies,
        windows: windows(&x.spans, context.lost() + 1, 1),
        width: x.width(),
        rows: x.spans,
    };
    let x = x.values;
    let y = D::forward(&x, &spliced);
    let slot = Slot::of(&x);
    record_hidden(y, spliced.windows.clone(), tape, move |dy, g| {
        D::backward(dy, &x, &spliced, g.at(&slot));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, check_op, close, hidden};

    /// A case without numbers near 0, where ReLU has no derivative.
    fn case(width: usize) -> Case {
        let case = Case::new(&ROWS, width, &[]);
        let values = case.x.read().iter().map(|x| x + 0.05f32.copysign(*x));
        Case {
            x: hidden(values.collect(), width, case.x.spans.clone()),
            p: vec![],
        }
    }

    #[test]
    fn splice_is_its_formula_and_its_gradient() {
        for (width, frames, dilation) in [(5, 5, 1), (8, 3, 2), (7, 3, 3), (4, 1, 1), (3, 20, 2)] {
            let context = Context { frames, dilation };
            for rectifies in [false, true] {
                let case = case(width);
                let x = case.frames();
                let mut reference = vec![];
                for row in case.x.spans.iter() {
                    for t in row.start..row.end.saturating_sub(context.lost()).max(row.start) {
                        for j in 0..frames {
                            let frame = &x[(t + j * dilation) * width..][..width];
                            let f = |x: &f64| if rectifies { x.max(0.0) } else { *x };
                            reference.extend(frame.iter().map(f));
                        }
                    }
                }
                let y = splice(case.x.clone(), context, rectifies);
                close(y.read(), &reference, 1e-7);
                check_op!(case, |x, _, _, _| splice(x, context, rectifies).values);
            }
        }
    }
}
