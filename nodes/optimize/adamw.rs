//! AdamW as PyTorch's (Loshchilov and Hutter 2019): w -= r λ w; m = β1 m + (1-β1) g; v = β2 v + (1-β2) g²;
//! w -= r m / (1-β1^t) / (sqrt(v / (1-β2^t)) + ε). And the global norm of gradients.
use crate::math::sum;
use crate::par::{Shared, each, map, wide};

/// Fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 1 << 15;

pub struct Moments {
    pub m: Vec<f32>,
    pub v: Vec<f32>,
}

impl Moments {
    pub fn zeros(n: usize) -> Moments {
        Moments { m: vec![0.0; n], v: vec![0.0; n] }
    }
}

pub struct AdamW {
    pub rate: f64,
    pub betas: [f64; 2],
    pub eps: f64,
    pub decay: f64,
    /// t, from 1.
    pub update: u64,
}

impl AdamW {
    /// Moves `w` by the gradient `g` times `factor` (clipping; negative for what climbs).
    pub fn step(&self, w: &mut [f32], moments: &mut Moments, g: &[f32], factor: f32) {
        let [b1, b2] = self.betas;
        let t = i32::try_from(self.update).unwrap_or(i32::MAX);
        let rate = (self.rate / (1.0 - b1.powi(t))) as f32;
        let correction = (1.0 / (1.0 - b2.powi(t)).sqrt()) as f32;
        let (keep, eps) = ((1.0 - self.rate * self.decay) as f32, self.eps as f32);
        let (b1, b2, c1, c2) = (b1 as f32, b2 as f32, (1.0 - b1) as f32, (1.0 - b2) as f32);
        let n = w.len();
        let (w, m, v) = (Shared::new(w), Shared::new(&mut moments.m), Shared::new(&mut moments.v));
        each(n.div_ceil(CHUNK), |chunk| {
            let (from, len) = (chunk * CHUNK, CHUNK.min(n - chunk * CHUNK));
            // SAFETY: chunks do not overlap.
            let (w, m, v) = unsafe { (w.part(from, len), m.part(from, len), v.part(from, len)) };
            wide!(for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(&g[from..from + len]) {
                let g = g * factor;
                *m = b1 * *m + c1 * g;
                *v = b2 * *v + c2 * g * g;
                *w = *w * keep - rate * *m / (v.sqrt() * correction + eps);
            });
        });
    }
}

/// ‖all gradients‖₂.
pub fn norm<'a>(gradients: impl Iterator<Item = &'a Vec<f32>>) -> f64 {
    let mut total = 0.0;
    for g in gradients {
        let chunk = |c: usize| &g[c * CHUNK..g.len().min((c + 1) * CHUNK)];
        let squares = |g: &[f32]| wide!(sum(g.len(), |i| g[i] * g[i]));
        total += map(g.len().div_ceil(CHUNK), |c| squares(chunk(c)) as f64).iter().sum::<f64>();
    }
    total.sqrt()
}

/// What brings gradients of this norm to at most `most`, as PyTorch's clip_grad_norm_.
pub fn clip_factor(norm: f64, most: Option<f64>) -> f32 {
    most.map_or(1.0, |most| (most / (norm + 1e-6)).min(1.0) as f32)
}
