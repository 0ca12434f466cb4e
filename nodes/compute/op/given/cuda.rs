//! [`crate::op::given_vector`], [`crate::op::given_number`]: slopes are sent along in f32.
use crate::cuda::gpu::for_each;
use crate::cuda::kernels::{self, Pack};
use crate::tensor::cuda::{
    Cuda, Param, Shape, Tensor, Vector, address, len, param, record, tensor,
};
use crate::tensor::{Number, Track};

pub fn given_vector<T: Track<Cuda>>(
    values: Vec<f32>,
    x: &Param,
    tape: T,
    slope: impl Fn(usize, f64) -> f64 + 'static,
) -> Vector<T> {
    let n = values.len();
    let (x, slopes) = (
        x.clone(),
        param((0..n).map(|i| slope(i, 1.0) as f32).collect()),
    );
    record(param(values), tape, move |dy, g| {
        kernels::add_products(for_each(n, 1), dy, address(&slopes), g.to(&x), n);
    })
}

pub fn given_number<S: Shape, T: Track<Cuda>>(
    value: f32,
    slopes: Vec<(Tensor<S, f32, Cuda>, Vec<f64>)>,
    tape: T,
) -> Number<T, Cuda> {
    let sent = |slopes: Vec<f64>| param(slopes.into_iter().map(|s| s as f32).collect());
    let slopes: Vec<_> = slopes
        .into_iter()
        .map(|(x, slopes)| (x, sent(slopes)))
        .collect();
    record(tensor(vec![value], ()), tape, move |dy, g| {
        for (x, slopes) in &slopes {
            let n = len(x);
            kernels::add_times(Pack::of(n), for_each(n, n), address(slopes), dy, g.to(x), n);
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::cuda::check::both;
    use crate::op::check::{Case, noise};

    #[test]
    fn what_is_given_has_the_gradient_that_it_has_on_the_cpu() {
        let (case, [v, w]) = (Case::new(&[1], 1, &[9, 12]), [9, 12].map(|n| noise("w", n)));
        both!(agree: &case, |_x, p, tape, _precision| {
            let w = w.clone();
            given_vector(v.clone(), &p[0], tape.clone(), move |i, dy| 2.0 * w[i] as f64 * dy)
        });
        both!(agree: &case, |_x, p, tape, _precision| {
            let slopes = [(0, &v), (1, &w)].map(|(i, s)| (p[i].clone(), s.iter().map(|s| *s as f64).collect()));
            given_number(0.5, slopes.into(), tape.clone())
        });
    }
}
