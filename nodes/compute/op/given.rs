//! Closed forms of a few parameters, as gates and the penalty are: their values and slopes are
//! computed in f64 on the CPU, wherever tensors lie, and recorded. x, y (n).
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
use crate::tensor::{DeviceStorage, Number, Param, Shape, Tensor, Track, Vector, record};
use std::borrow::Cow;

/// What a device must do for given values.
pub trait GivenDevice: DeviceStorage {
    /// Returns the numbers of a tensor: in place on the CPU, as a copy from a GPU.
    fn numbers<S: Shape>(x: &Tensor<S, f32, Self>) -> Cow<'_, [f32]>;

    /// Makes a tensor of these numbers.
    fn tensor<S: Shape>(values: Vec<f32>, shape: S) -> Tensor<S, f32, Self>;

    /// Returns a rule that adds `slope`(i, dy_i) to each of `n` numbers of dx.
    fn vector_rule(
        n: usize,
        slope: impl Fn(usize, f64) -> f64 + 'static,
    ) -> impl FnOnce(Self::Upstream, Self::Accumulator<'_>) + 'static;

    /// Returns a rule that adds dy · `slopes` to dx, for a dy of one number.
    fn number_rule(slopes: Vec<f64>) -> impl Fn(&Self::Upstream, Self::Accumulator<'_>) + 'static;
}

/// Records y = `values`, one for each number of x, with dx_i += `slope`(i, dy_i), which is linear
/// in dy_i.
pub fn given_vector<T: Track<D>, D: GivenDevice>(
    values: Vec<f32>,
    x: &Param<D>,
    tape: T,
    slope: impl Fn(usize, f64) -> f64 + 'static,
) -> Vector<T, D> {
    let n = values.len();
    let x = x.clone();
    let rule = D::vector_rule(n, slope);
    record(D::tensor(values, (n,)), tape, move |dy, g| {
        rule(dy, g.of(&x));
    })
}

/// Records y = `value`, with dx += dy · slopes for each x.
pub fn given_number<S: Shape, T: Track<D>, D: GivenDevice>(
    value: f32,
    slopes: Vec<(Tensor<S, f32, D>, Vec<f64>)>,
    tape: T,
) -> Number<T, D> {
    let rules: Vec<_> = slopes
        .into_iter()
        .map(|(x, slopes)| (x, D::number_rule(slopes)))
        .collect();
    record(D::tensor(vec![value], ()), tape, move |dy, g| {
        for (x, rule) in &rules {
            rule(&dy, g.of(x));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, check_op, noise};

    #[test]
    fn given_values_have_the_gradients_of_their_slopes() {
        for sizes in [[9, 5], [9, 12]] {
            let case = Case::new(&[1], 1, &sizes);
            check_op!(case, |_, p, tape, _| {
                let x = read(&p[1]).to_vec();
                let squares = x.iter().map(|x| x * x).collect();
                given_vector(squares, &p[1], tape.clone(), move |i, dy| {
                    2.0 * x[i] as f64 * dy
                })
            });
            let weights = sizes.map(|n| noise("w", n));
            check_op!(case, |_, p, tape, _| {
                let mut value = 0.0;
                let mut slopes = vec![];
                for (x, weights) in p.iter().zip(&weights) {
                    let products = read(x).iter().zip(weights).map(|(x, w)| x * w).sum::<f32>();
                    value += products;
                    let weights = weights.iter().map(|w| *w as f64).collect();
                    slopes.push((x.clone(), weights));
                }
                given_number(value, slopes, tape.clone())
            });
        }
    }
}
