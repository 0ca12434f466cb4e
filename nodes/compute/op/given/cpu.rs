//! [`GivenDevice`] in f64, number by number.
use super::GivenDevice;
use crate::tensor::cpu::{self, Cpu, Shape, Tensor};
use std::borrow::Cow;

impl GivenDevice for Cpu {
    fn numbers<S: Shape>(x: &Tensor<S, f32, Cpu>) -> Cow<'_, [f32]> {
        cpu::read(x).into()
    }

    fn tensor<S: Shape>(values: Vec<f32>, shape: S) -> Tensor<S, f32, Cpu> {
        cpu::tensor(values, shape)
    }

    fn vector_rule(
        _: usize,
        slope: impl Fn(usize, f64) -> f64 + 'static,
    ) -> impl FnOnce(Vec<f32>, &mut Vec<f32>) + 'static {
        move |dy, dx| {
            for (i, (dx, dy)) in dx.iter_mut().zip(dy).enumerate() {
                *dx += slope(i, dy as f64) as f32;
            }
        }
    }

    fn number_rule(slopes: Vec<f64>) -> impl Fn(&Vec<f32>, &mut Vec<f32>) + 'static {
        move |dy, dx| {
            for (dx, slope) in dx.iter_mut().zip(&slopes) {
                *dx += (dy[0] as f64 * slope) as f32;
            }
        }
    }
}
