//! AdamW and the norm of all gradients on a GPU, as in [`crate::adamw`]. Weights, gradients and
//! moments stay there; for the norm one number for each 2^15 gradients is downloaded.
use crate::adamw::{AdamW, CHUNK};
use crate::cuda::elementwise;
use crate::cuda::gpu::gpu;
use crate::cuda::grid::for_each;
use crate::cuda::kernels;
use crate::cuda::mask::Mask;
use crate::cuda::narrow::{refresh, weight_copy_address};
use crate::gemm::Precision;
use crate::tensor::cuda::{Param, address, len, param, read, zeros};
use std::borrow::Cow;

/// The moments of a parameter.
pub struct Moments {
    m: Param,
    v: Param,
}

impl Moments {
    pub fn zeros(n: usize) -> Moments {
        Moments {
            m: zeros((n,)),
            v: zeros((n,)),
        }
    }

    pub fn new(m: Vec<f32>, v: Vec<f32>) -> Moments {
        Moments {
            m: param(m),
            v: param(v),
        }
    }

    /// Returns copies of m and v.
    pub fn read(&self) -> [Cow<'_, [f32]>; 2] {
        [&self.m, &self.v].map(|x| read(x).into())
    }
}

/// Updates `w`, its moments and its copy in bf16 by the gradient `g` times `factor`, in place: all
/// tensors that share the memory of `w` change.
pub fn step(adamw: &AdamW, w: &mut Param, moments: &mut Moments, g: &Param, factor: f32) {
    let n = len(w);
    let copy = weight_copy_address(w);
    let [w, m, v, g] = [w, &moments.m, &moments.v, g].map(address);
    kernels::adamw(for_each(n, 1), w, m, v, g, copy, n, factor, adamw.rule());
}

/// Returns ‖all gradients‖₂.
pub fn norm<'a>(gradients: impl IntoIterator<Item = &'a Param>) -> f64 {
    let gradients: Vec<&Param> = gradients.into_iter().collect();
    let chunks = |g: &Param| len(g).div_ceil(CHUNK);
    let count: usize = gradients.iter().map(|g| chunks(g)).sum();
    let parts = gpu().memory(Precision::F32, 2 * count); // in f64
    let mut first = 0;
    for g in gradients {
        kernels::squares([chunks(g), 1], address(g), parts.element(2 * first), len(g));
        first += chunks(g);
    }
    gpu().doubles(&parts, count).iter().sum::<f64>().sqrt()
}

/// to += from
pub fn add(to: &mut Param, from: &Param) {
    elementwise::add(address(from), address(to), len(to), Mask::times(1.0));
    refresh(to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adamw::{Form, cpu};
    use crate::op::check::{close, noise};
    use crate::tensor;

    #[test]
    fn updates_are_those_of_the_cpu() {
        let n = CHUNK + 77;
        for form in [Form::Adamw, Form::AdamwS3prl] {
            let mut on_cpu = tensor::cpu::param(noise("w", n));
            let mut cpu_moments = cpu::Moments::zeros(n);
            let mut w = param(noise("w", n));
            let mut on_gpu = Moments::zeros(n);
            for update in 1..4 {
                let g = noise(&format!("g{update}"), n);
                let rule = AdamW {
                    form,
                    rate: 1e-2,
                    betas: [0.9, 0.98],
                    eps: 1e-6,
                    decay: 0.1,
                    update,
                };
                let cpu_g = tensor::cpu::param(g.clone());
                cpu::step(&rule, &mut on_cpu, &mut cpu_moments, &cpu_g, 0.5);
                step(&rule, &mut w, &mut on_gpu, &param(g), 0.5);
            }
            let expected: Vec<f64> = tensor::cpu::read(&on_cpu)
                .iter()
                .map(|w| *w as f64)
                .collect();
            close(&read(&w), &expected, 1e-6);
        }
    }

    #[test]
    fn the_norm_is_that_of_the_cpu() {
        let gradients = [noise("a", 3 * CHUNK + 5), vec![], noise("b", 7)];
        let on_gpu = gradients.each_ref().map(|g| param(g.clone()));
        let on_cpu = gradients.map(tensor::cpu::param);
        assert!((norm(&on_gpu) / cpu::norm(&on_cpu) - 1.0).abs() < 1e-6);
    }
}
