//! AdamW and the norm of all gradients on a GPU, as in [`crate::adamw`]. Weights, gradients and
//! moments stay there; for the norm one number for each 2^15 gradients is downloaded.
use crate::adamw::{AdamW, CHUNK, Rule, Update};
use crate::cuda::elementwise;
use crate::cuda::gpu::gpu;
use crate::cuda::kernels;
use crate::cuda::mask::Mask;
use crate::cuda::narrow::{refresh, weight_copy_address};
use crate::cuda::padded::forget_copies;
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

/// Updates `w` and its moments with the gradient `g` times `factor`, as [`step_all`].
pub fn step(adamw: &AdamW, w: &mut Param, moments: &mut Moments, g: &Param, factor: f32) {
    step_all(vec![Update::new(adamw, w, moments, g, factor)]);
}

/// Makes all updates in one launch: changes weights, their moments and their copies in bf16 in
/// place, so that all tensors that share the memory of a weight change.
pub fn step_all(updates: Vec<Update<Param, Moments>>) {
    let mut table = vec![];
    let mut chunks = 0;
    for update in &updates {
        forget_copies(update.weight);
        table.extend(table_row(chunks, update));
        chunks += len(update.gradient).div_ceil(CHUNK);
    }
    let table = gpu().upload(table);
    kernels::adamw([chunks, 1], table.at(), updates.len());
}

/// Returns an update as adamw.cu reads it.
fn table_row(first_chunk: usize, update: &Update<Param, Moments>) -> [usize; 12] {
    let Moments { m, v } = &*update.moments;
    let [w, m, v, g] = [&*update.weight, m, v, update.gradient].map(|x| address(x) as usize);
    let Rule {
        betas: [b1, b2, c1, c2],
        keep,
        rate,
        correction,
        eps,
    } = update.rule;
    let pair = |low: f32, high: f32| low.to_bits() as usize | (high.to_bits() as usize) << 32;
    [
        first_chunk,
        w,
        m,
        v,
        g,
        weight_copy_address(update.weight) as usize,
        len(update.gradient),
        pair(b1, b2),
        pair(c1, c2),
        pair(keep, rate),
        pair(correction, eps),
        pair(update.factor, 0.0),
    ]
}

/// Returns ‖all gradients‖₂.
pub fn norm<'a>(gradients: impl IntoIterator<Item = &'a Param>) -> f64 {
    let mut table = vec![];
    let mut count = 0;
    let mut chunks = 0;
    for gradient in gradients {
        table.extend([chunks, address(gradient) as usize, len(gradient)]);
        count += 1;
        chunks += len(gradient).div_ceil(CHUNK);
    }
    let table = gpu().upload(table);
    let parts = gpu().memory(Precision::F32, 2 * chunks); // in f64
    kernels::squares([chunks, 1], table.at(), parts.at(), count);
    gpu().doubles(&parts, chunks).iter().sum::<f64>().sqrt()
}

/// to += from
pub fn add(to: &mut Param, from: &Param) {
    elementwise::add(address(from), address(to), len(to), Mask::times(1.0));
    refresh(to);
    forget_copies(to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adamw::{Form, cpu};
    use crate::op::check::{close, noise};
    use crate::tensor;

    const LENGTHS: [usize; 5] = [7, CHUNK, 0, 2 * CHUNK + 77, 1];

    /// Returns numbers of each length.
    fn named(name: &str) -> Vec<Vec<f32>> {
        let numbers = LENGTHS.iter().enumerate();
        numbers
            .map(|(i, n)| noise(&format!("{name}{i}"), *n))
            .collect()
    }

    /// Parameters share a launch, and each begins a chunk of its own.
    #[test]
    fn updates_are_those_of_the_cpu() {
        const FACTORS: [f32; 5] = [0.5, 0.5, 0.5, -0.25, 2.0];
        for form in [Form::Adamw, Form::AdamwS3prl] {
            let mut on_cpu: Vec<_> = named("w").into_iter().map(tensor::cpu::param).collect();
            let mut cpu_moments = LENGTHS.map(cpu::Moments::zeros);
            let mut on_gpu: Vec<_> = named("w").into_iter().map(param).collect();
            let mut moments = LENGTHS.map(Moments::zeros);
            for update in 1..4 {
                let gradient = format!("g{update}");
                let cpu_gradients: Vec<_> = named(&gradient)
                    .into_iter()
                    .map(tensor::cpu::param)
                    .collect();
                let gradients: Vec<_> = named(&gradient).into_iter().map(param).collect();
                let mut updates = vec![];
                let weights = on_gpu.iter_mut().zip(&mut moments);
                for (i, (w, moments)) in weights.enumerate() {
                    let rule = AdamW {
                        form,
                        rate: 1e-2 / (i + 1) as f64,
                        betas: [0.9, 0.98],
                        eps: 1e-6,
                        decay: 0.1,
                        update,
                    };
                    let cpu_w = &mut on_cpu[i];
                    let own = &mut cpu_moments[i];
                    cpu::step(&rule, cpu_w, own, &cpu_gradients[i], FACTORS[i]);
                    updates.push(Update::new(&rule, w, moments, &gradients[i], FACTORS[i]));
                }
                step_all(updates);
            }
            for (w, expected) in on_gpu.iter().zip(&on_cpu) {
                let expected = tensor::cpu::read(expected).iter().map(|w| *w as f64);
                close(&read(w), &expected.collect::<Vec<_>>(), 1e-6);
            }
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
