//! The mean and the standard deviation of each row over its n frames, as x-vectors pool them (Snyder
//! et al. 2018): y = (m, σ), m = Σ x_t / n, σ² = Σ (x_t - m)² / (n - 1).
//! x (frames, width), y (rows, 2 width).
//! dx_t = dm / n + dσ (x_t - m) / ((n - 1) σ), the second term 0 where σ is 0. A row of one frame has
//! σ = 0, an empty one m = σ = 0.
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use crate::tensor::{DeviceStorage, Hidden, Matrix, NoneTape, Spans, Track, record_hidden};

/// What a device must do for [`statistics`].
pub trait StatisticsDevice: DeviceStorage {
    /// Returns y.
    fn forward(x: &Matrix<NoneTape, Self>, rows: &Spans) -> Matrix<NoneTape, Self>;

    /// Adds to the gradient of x.
    fn backward(
        dy: Self::Upstream,
        x: &Matrix<NoneTape, Self>,
        y: &Matrix<NoneTape, Self>,
        rows: &Spans,
        dx: Self::Accumulator<'_>,
    );
}

/// Returns one frame for each row: mean and standard deviation of its frames, side by side.
pub fn statistics<T: Track<D>, D: StatisticsDevice>(x: Hidden<T, D>) -> Hidden<T, D> {
    let (x, tape) = x.split();
    let y = D::forward(&x.values, &x.spans);
    let pooled = Spans::new(x.spans.lengths().map(|_| 1));
    let saved = y.clone();
    record_hidden(y, pooled, tape, move |dy, g| {
        D::backward(dy, &x.values, &saved, &x.spans, g.of(&x.values));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, ROWS, check_op, close};
    use crate::tensor::cpu::{Tape, backward, hidden};

    #[test]
    fn statistics_are_their_formula_and_its_gradient() {
        for width in [3, 5, 8] {
            let case = Case::new(&ROWS, width, &[]);
            let x = case.frames();
            let mut reference = vec![];
            for row in case.x.spans.iter() {
                let frames = row.len() as f64;
                let of = |c: usize| row.clone().map(move |t| t * width + c);
                let means: Vec<f64> = (0..width)
                    .map(|c| of(c).map(|i| x[i]).sum::<f64>() / frames.max(1.0))
                    .collect();
                reference.extend(&means);
                for (c, mean) in means.iter().enumerate() {
                    let squares: f64 = of(c).map(|i| (x[i] - mean).powi(2)).sum();
                    reference.push((squares / (frames - 1.0).max(1.0)).sqrt());
                }
            }
            close(statistics(case.x.clone()).read(), &reference, 1e-6);
            check_op!(case, |x, _, _, _| statistics(x).values);
        }
    }

    #[test]
    fn frames_that_are_all_alike_have_a_finite_gradient() {
        let x = hidden(vec![3.0; 4], 1, Spans::new([4]));
        let y = statistics(x.on(&Tape::default()));
        assert_eq!(y.read(), [3.0, 0.0]);
        let loss = crate::op::mean_square(y);
        let dx = backward(loss, 1.0).take(&x.values);
        assert_eq!(dx, [0.75; 4]);
    }
}
