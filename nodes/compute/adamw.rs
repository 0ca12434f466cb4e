//! Adam with decoupled decay (Loshchilov and Hutter 2019), in two forms, and the global norm of gradients:
//!
//! m = β1 m + (1-β1) g; v = β2 v + (1-β2) g²; c = sqrt(1-β2^t)
//! "adamw", as PyTorch's: w -= r λ w; w -= r / (1-β1^t) m / (sqrt(v) / c + ε)
//! "adamw-s3prl", s3prl's AdamW_with_schedule: w -= r c / (1-β1^t) (m / (sqrt(v) + ε) + λ w); biases are not decayed.
//!
//! The second is the first with ε / c for ε and λ c / (1-β1^t) for λ.
#[cfg(not(feature = "cuda"))]
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
use crate::math::sum;
use crate::parallel::{Shared, each, map, wide};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Fixed, so that sums do not depend on the number of threads.
pub const CHUNK: usize = 1 << 15;

/// On the CPU.
pub struct Moments {
    m: Vec<f32>,
    v: Vec<f32>,
}

impl Moments {
    pub fn zeros(n: usize) -> Moments {
        Moments::new(vec![0.0; n], vec![0.0; n])
    }
    pub fn new(m: Vec<f32>, v: Vec<f32>) -> Moments {
        Moments { m, v }
    }
    /// m and v.
    pub fn read(&self) -> [Cow<'_, [f32]>; 2] {
        [&self.m, &self.v].map(Cow::from)
    }
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// As PyTorch's.
    #[default]
    Adamw,
    /// As s3prl's.
    AdamwS3prl,
}

impl Form {
    /// Whether a parameter of this name is decayed at all.
    pub fn decays(self, name: &str) -> bool {
        self == Form::Adamw || !name.contains("bias")
    }
}

pub struct AdamW {
    pub form: Form,
    pub rate: f64,
    pub betas: [f64; 2],
    pub eps: f64,
    pub decay: f64,
    /// t, from 1.
    pub update: u64,
}

/// The numbers of an update, for every weight of a node.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Rule {
    /// β1, β2, 1 - β1, 1 - β2
    betas: [f32; 4],
    /// What decay leaves of a weight.
    keep: f32,
    rate: f32,
    correction: f32,
    eps: f32,
}

impl AdamW {
    /// Moves `w` by the gradient `g` times `factor` (clipping; negative for what climbs).
    pub fn step(&self, w: &mut [f32], moments: &mut Moments, g: &[f32], factor: f32) {
        let Rule {
            betas: [b1, b2, c1, c2],
            keep,
            rate,
            correction,
            eps,
        } = self.rule();
        let n = w.len();
        let (w, m, v) = (
            Shared::new(w),
            Shared::new(&mut moments.m),
            Shared::new(&mut moments.v),
        );
        each(n.div_ceil(CHUNK), |chunk| {
            let (from, len) = (chunk * CHUNK, CHUNK.min(n - chunk * CHUNK));
            // SAFETY: chunks do not overlap.
            let (w, m, v) = unsafe { (w.part(from, len), m.part(from, len), v.part(from, len)) };
            wide!(
                for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(&g[from..from + len]) {
                    let g = g * factor;
                    *m = b1 * *m + c1 * g;
                    *v = b2 * *v + c2 * g * g;
                    *w = *w * keep - rate * *m / (v.sqrt() * correction + eps);
                }
            );
        });
    }

    pub fn rule(&self) -> Rule {
        let [b1, b2] = self.betas;
        let t = i32::try_from(self.update).unwrap_or(i32::MAX);
        let (rate, correction) = (
            self.rate / (1.0 - b1.powi(t)),
            1.0 / (1.0 - b2.powi(t)).sqrt(),
        );
        let (keep, eps) = match self.form {
            Form::Adamw => (1.0 - self.rate * self.decay, self.eps),
            Form::AdamwS3prl => (1.0 - rate / correction * self.decay, self.eps * correction),
        };
        let [rate, correction, keep, eps] = [rate, correction, keep, eps].map(|x| x as f32);
        Rule {
            betas: [b1, b2, 1.0 - b1, 1.0 - b2].map(|x| x as f32),
            keep,
            rate,
            correction,
            eps,
        }
    }
}

/// ‖all gradients‖₂.
pub fn norm<'a>(gradients: impl Iterator<Item = &'a [f32]>) -> f64 {
    let mut total = 0.0;
    for g in gradients {
        let chunk = |c: usize| &g[c * CHUNK..g.len().min((c + 1) * CHUNK)];
        let squares = |g: &[f32]| wide!(sum(g.len(), |i| g[i] * g[i]));
        total += map(g.len().div_ceil(CHUNK), |c| squares(chunk(c)) as f64)
            .iter()
            .sum::<f64>();
    }
    total.sqrt()
}

/// What brings gradients of this norm to at most `most`, as PyTorch's clip_grad_norm_.
pub fn clip_factor(norm: f64, most: Option<f64>) -> f32 {
    most.map_or(1.0, |most| (most / (norm + 1e-6)).min(1.0) as f32)
}
