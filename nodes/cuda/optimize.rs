//! AdamW and the norm of all gradients, as [`crate::optimize::adamw`]. Weights, gradients and moments stay on the GPU; of the
//! norm a number for each 2^15 gradients comes back.
use super::gpu::{Address, Memory, for_each, gpu, launch};
use crate::gemm::Precision;
use crate::optimize::adamw::{CHUNK, Rule};

/// m and v of a parameter.
pub struct Moments {
    m: Memory,
    v: Memory,
}

impl Moments {
    pub fn zeros(n: usize) -> Moments {
        Moments { m: gpu().zeros(n), v: gpu().zeros(n) }
    }
}

/// Moves the `n` weights at `w` by the gradient at `g` times `factor`.
pub fn step(rule: Rule, w: Address, moments: &Moments, g: Address, n: usize, factor: f32) {
    launch!("adamw", for_each(n, 1), w, moments.m.at(), moments.v.at(), g, n, factor, rule);
}

/// ‖all gradients‖₂, of these places and lengths.
pub fn norm(gradients: &[(Address, usize)]) -> f64 {
    let chunks: usize = gradients.iter().map(|(_, n)| n.div_ceil(CHUNK)).sum();
    let parts = gpu().memory(Precision::F32, 2 * chunks);
    let mut first = 0;
    for (g, n) in gradients {
        launch!("squares", [n.div_ceil(CHUNK), 1], *g, parts.element(2 * first), *n);
        first += n.div_ceil(CHUNK);
    }
    gpu().doubles(&parts, chunks).iter().sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{close, noise};
    use crate::optimize::adamw::{self, AdamW, Form};
    use crate::tensor::cuda::{address, param, read};

    #[test]
    fn updates_are_those_of_the_cpu() {
        let n = CHUNK + 77;
        for form in [Form::Adamw, Form::AdamwS3prl] {
            let (mut own, mut moments) = (noise("w", n), adamw::Moments::zeros(n));
            let (w, on_gpu) = (param(own.clone()), Moments::zeros(n));
            for update in 1..4 {
                let g = noise(&format!("g{update}"), n);
                let rule = AdamW { form, rate: 1e-2, betas: [0.9, 0.98], eps: 1e-6, decay: 0.1, update };
                rule.step(&mut own, &mut moments, &g, 0.5);
                step(rule.rule(), address(&w), &on_gpu, address(&param(g)), n, 0.5);
            }
            close(&read(&w), &own.iter().map(|w| *w as f64).collect::<Vec<_>>(), 1e-6);
        }
    }

    #[test]
    fn the_norm_is_that_of_the_cpu() {
        let gradients = [noise("a", 3 * CHUNK + 5), vec![], noise("b", 7)];
        let on_gpu = gradients.each_ref().map(|g| param(g.clone()));
        let places: Vec<_> = on_gpu.iter().zip(&gradients).map(|(p, g)| (address(p), g.len())).collect();
        assert!((norm(&places) / adamw::norm(gradients.iter()) - 1.0).abs() < 1e-6);
    }
}
