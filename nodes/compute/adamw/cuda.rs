//! AdamW and the norm of all gradients, as [`crate::adamw`]. Weights, gradients and moments stay on the GPU; of the
//! norm a number for each 2^15 gradients comes back.
use crate::adamw::{AdamW, CHUNK};
use crate::cuda::elementwise;
use crate::cuda::gpu::{for_each, gpu};
use crate::cuda::kernels;
use crate::cuda::mask::Mask;
use crate::cuda::narrow::{beside, refresh};
use crate::gemm::Precision;
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
    kernels::adamw(for_each(n, 1), w, m, v, g, copy, n, factor, adamw.rule());
}

/// ‖all gradients‖₂.
pub fn norm<'a>(gradients: impl IntoIterator<Item = &'a Param>) -> f64 {
    let gradients: Vec<&Param> = gradients.into_iter().collect();
    let chunks = |g: &Param| len(g).div_ceil(CHUNK);
    let all: usize = gradients.iter().map(|g| chunks(g)).sum();
    let parts = gpu().memory(Precision::F32, 2 * all);
    let mut first = 0;
    for g in gradients {
        kernels::squares([chunks(g), 1], address(g), parts.element(2 * first), len(g));
        first += chunks(g);
    }
    gpu().doubles(&parts, all).iter().sum::<f64>().sqrt()
}

/// to += from
pub fn add(to: &mut Param, from: &Param) {
    elementwise::add(address(from), address(to), len(to), Mask::times(1.0));
    refresh(to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adamw;
    use crate::adamw::Form;
    use crate::op::check::{close, noise};

    #[test]
    fn updates_are_those_of_the_cpu() {
        let n = CHUNK + 77;
        for form in [Form::Adamw, Form::AdamwS3prl] {
            let (mut own, mut moments) = (noise("w", n), adamw::Moments::zeros(n));
            let (mut w, mut on_gpu) = (param(own.clone()), Moments::zeros(n));
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
                rule.step(&mut own, &mut moments, &g, 0.5);
                step(&rule, &mut w, &mut on_gpu, &param(g), 0.5);
            }
            close(
                &read(&w),
                &own.iter().map(|w| *w as f64).collect::<Vec<_>>(),
                1e-6,
            );
        }
    }

    #[test]
    fn the_norm_is_that_of_the_cpu() {
        let gradients = [noise("a", 3 * CHUNK + 5), vec![], noise("b", 7)];
        let on_gpu = gradients.each_ref().map(|g| param(g.clone()));
        assert!((norm(&on_gpu) / adamw::norm(gradients.iter().map(|g| &g[..])) - 1.0).abs() < 1e-6);
    }
}
