//! Closed forms of a few parameters (gates, the penalty): their numbers are computed in f64 on the CPU, wherever tensors
//! lie, and given to the tape with their slopes. x, y (n).
#[cfg(feature = "cuda")]
pub mod cuda;
use crate::tensor::cpu::{Cpu, Number, Param, Shape, Tensor, Track, Vector, record};

/// y = `values`, one for each number of x; dx_i += `slope`(i, dy_i), linear in dy_i.
pub fn given_vector<T: Track>(
    values: Vec<f32>,
    x: &Param,
    tape: T,
    slope: impl Fn(usize, f64) -> f64 + 'static,
) -> Vector<T> {
    let (n, x) = (values.len(), x.clone());
    record(values, (n,), tape, move |dy, g| {
        g.of(&x)
            .iter_mut()
            .zip(dy)
            .enumerate()
            .for_each(|(i, (to, dy))| *to += slope(i, dy as f64) as f32);
    })
}

/// y = `value`; dx += dy · slopes for each x.
pub fn given_number<S: Shape, T: Track>(
    value: f32,
    slopes: Vec<(Tensor<S, f32, Cpu>, Vec<f64>)>,
    tape: T,
) -> Number<T> {
    record(vec![value], (), tape, move |dy, g| {
        for (x, slopes) in &slopes {
            g.of(x)
                .iter_mut()
                .zip(slopes)
                .for_each(|(to, s)| *to += (dy[0] as f64 * s) as f32);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{Case, noise};
    use crate::tensor::cpu::read;

    #[test]
    fn what_is_given_has_the_gradient_of_its_slopes() {
        let case = Case::new(&[1], 1, &[9, 5]);
        case.check(|_, p, tape| {
            let x = read(&p[0]).to_vec();
            given_vector(
                x.iter().map(|x| x * x).collect(),
                &p[0],
                tape.clone(),
                move |i, dy| 2.0 * x[i] as f64 * dy,
            )
        });
        let weights = [9, 5].map(|n| noise("w", n));
        case.check(|_, p, tape| {
            let dot = |i: usize| {
                read(&p[i])
                    .iter()
                    .zip(&weights[i])
                    .map(|(x, w)| x * w)
                    .sum::<f32>()
            };
            let slopes = |i: usize| (p[i].clone(), weights[i].iter().map(|w| *w as f64).collect());
            given_number(dot(0) + dot(1), [0, 1].map(slopes).into(), tape.clone())
        });
    }
}
