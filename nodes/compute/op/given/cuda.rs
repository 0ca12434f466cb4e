//! [`GivenDevice`]: slopes are uploaded in f32 with the values.
use super::GivenDevice;
use crate::cuda::elementwise::add_times;
use crate::cuda::gpu::Address;
use crate::cuda::grid::for_each;
use crate::cuda::kernels;
use crate::tensor::cuda::{self, Cuda, Shape, Tensor, address, param};
use std::borrow::Cow;

impl GivenDevice for Cuda {
    fn numbers<S: Shape>(x: &Tensor<S, f32, Cuda>) -> Cow<'_, [f32]> {
        cuda::read(x).into()
    }

    fn tensor<S: Shape>(values: Vec<f32>, shape: S) -> Tensor<S, f32, Cuda> {
        cuda::tensor(values, shape)
    }

    fn vector_rule(
        n: usize,
        slope: impl Fn(usize, f64) -> f64 + 'static,
    ) -> impl FnOnce(Address, Address) + 'static {
        let slopes = param((0..n).map(|i| slope(i, 1.0) as f32).collect());
        move |dy, dx| {
            kernels::add_products(for_each(n, 1), dy, address(&slopes), dx, n);
        }
    }

    fn number_rule(slopes: Vec<f64>) -> impl Fn(&Address, Address) + 'static {
        let n = slopes.len();
        let slopes = param(slopes.into_iter().map(|slope| slope as f32).collect());
        move |dy, dx| add_times(address(&slopes), *dy, dx, n)
    }
}
