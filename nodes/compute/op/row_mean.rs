//! y_r = mean over the frames of row r, a frame a row; a row without frames has none.
//! x (frames, width), y (rows with frames, width). dx_t = dy_r / frames of r.
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use crate::tensor::{DeviceStorage, Hidden, Matrix, NoneTape, Slot, Spans, Track, record_hidden};

/// What a device must do for [`row_mean`].
pub trait RowMeanDevice: DeviceStorage {
    /// Returns y. No row of `spans` is empty.
    fn forward(x: &Matrix<NoneTape, Self>, spans: &Spans) -> Matrix<NoneTape, Self>;

    /// Adds to the gradient of x, of this width.
    fn backward(dy: Self::Upstream, spans: &Spans, width: usize, dx: Self::Accumulator<'_>);
}

/// Returns the mean of each row's frames.
pub fn row_mean<T: Track<D>, D: RowMeanDevice>(x: Hidden<T, D>) -> Hidden<T, D> {
    let (x, tape) = x.split();
    let width = x.width();
    let filled = Spans::new(x.spans.lengths().filter(|frames| *frames > 0));
    let rows = Spans::new(x.spans.lengths().map(|frames| frames.min(1)));
    let y = D::forward(&x.values, &filled);
    let slot = Slot::of(&x.values);
    record_hidden(y, rows, tape, move |dy, g| {
        D::backward(dy, &filled, width, g.at(&slot));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, check_op, close};

    #[test]
    fn row_mean_is_its_formula_and_its_gradient() {
        for (rows, width) in [(&ROWS[..], 7), (&[300, 1, 2000], 8), (&[0, 0], 5)] {
            let case = Case::new(rows, width, &[]);
            let frames = case.frames();
            let mut reference = vec![];
            for row in case.x.spans.iter().filter(|row| !row.is_empty()) {
                for c in 0..width {
                    let sum: f64 = row.clone().map(|t| frames[t * width + c]).sum();
                    reference.push(sum / row.len() as f64);
                }
            }
            let y = row_mean(case.x.clone());
            close(y.read(), &reference, 1e-6);
            let lengths: Vec<usize> = rows.iter().map(|frames| *frames.min(&1)).collect();
            assert_eq!(y.spans.lengths().collect::<Vec<_>>(), lengths);
            check_op!(case, |x, _, _, _| row_mean(x).values);
        }
    }
}
