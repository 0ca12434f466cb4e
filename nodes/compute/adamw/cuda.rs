//! AdamW and the norm of all gradients, as [`crate::adamw`]. Weights, gradients and moments stay on the GPU; of the
//! norm a number for each 2^15 gradients comes back.
use crate::adamw::{AdamW, CHUNK};
use crate::cuda::gpu::{for_each, gpu, launch};
use crate::cuda::narrow::{beside, refresh};
use crate::gemm::Precision;
use crate::op::cuda as op;
use crate::op::cuda::Mask;
use crate::tensor::cuda::{Param, address, len, param, read, zeros};
use std::borrow::Cow;

/// m and v of a parameter.
pub struct Moments {
    m: Param,
    v: Param,
}

impl Moments {
    pub fn zeros(n: usize) -> Moments {
        let [m, v] = [(); 2].map(|()| zeros((n,)));
        Moments { m, v }
    }
    pub fn new(m: Vec<f32>, v: Vec<f32>) -> Moments {
        Moments {
            m: param(m),
            v: param(v),
        }
    }
    /// Copies of m and v.
    pub fn read(&self) -> [Cow<'_, [f32]>; 2] {
        [&self.m, &self.v].map(|x| read(x).into())
    }
}

/// Moves `w` by its gradient times `factor`, where it lies: whoever else holds it sees it move, and so does its copy in bf16.
pub fn step(adamw: &AdamW, w: &mut Param, moments: &mut Moments, g: &Param, factor: f32) {
    let (n, copy, [w, m, v, g]) = (
        len(w),
        beside(w),
        [w, &moments.m, &moments.v, g].map(address),
    );
    launch!(
        "adamw",
        for_each(n, 1),
        w,
        m,
        v,
        g,
        copy,
        n,
        factor,
        adamw.rule()
    );
}

/// ‖all gradients‖₂.
pub fn norm<'a>(gradients: impl IntoIterator<Item = &'a Param>) -> f64 {
    let gradients: Vec<&Param> = gradients.into_iter().collect();
    let chunks = |g: &Param| len(g).div_ceil(CHUNK);
    let all: usize = gradients.iter().map(|g| chunks(g)).sum();
    let parts = gpu().memory(Precision::F32, 2 * all);
    let mut first = 0;
    for g in gradients {
        launch!(
            "squares",
            [chunks(g), 1],
            address(g),
            parts.element(2 * first),
            len(g)
        );
        first += chunks(g);
    }
    gpu().doubles(&parts, all).iter().sum::<f64>().sqrt()
}

/// to += from
pub fn add(to: &mut Param, from: &Param) {
    op::add(address(from), address(to), len(to), Mask::times(1.0));
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
