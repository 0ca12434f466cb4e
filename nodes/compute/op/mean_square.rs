//! y = Σ x² / (frames · width), a number: fairseq's penalty on the extractor's features.
//! dx = 2 x / (frames · width) dy.
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use crate::tensor::{DeviceStorage, Hidden, Matrix, NoneTape, Number, Track, record};

/// What a device must do for [`mean_square`].
pub trait MeanSquareDevice: DeviceStorage {
    /// Returns y, or 0 if x is empty.
    fn forward(x: &Matrix<NoneTape, Self>) -> Number<NoneTape, Self>;
    /// Adds to the gradient of x.
    fn backward(dy: Self::Upstream, x: &Matrix<NoneTape, Self>, dx: Self::Accumulator<'_>);
}

/// Returns the mean of x² over all numbers, or 0 without frames.
pub fn mean_square<T: Track<D>, D: MeanSquareDevice>(x: Hidden<T, D>) -> Number<T, D> {
    let (x, tape) = x.split();
    let x = x.values;
    record(D::forward(&x), tape, move |dy, g| {
        D::backward(dy, &x, g.of(&x));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, check_op, close};
    use crate::tensor::cpu::read;

    #[test]
    fn mean_square_is_its_formula_and_its_gradient() {
        for rows in [&ROWS[..], &[3000], &[]] {
            for width in [5, 7, 11, 12] {
                let case = Case::new(rows, width, &[]);
                let squares = case.frames().iter().map(|x| x * x).sum::<f64>();
                let mean = squares / case.x.read().len().max(1) as f64;
                close(read(&mean_square(case.x.clone())), &[mean], 1e-6);
                check_op!(case, |x, _, _, _| mean_square(x));
            }
        }
    }
}
