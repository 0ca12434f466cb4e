//! Adam with decoupled weight decay (Loshchilov and Hutter 2019) in two forms, and clipping by the
//! global norm of gradients.
//!
//! For a weight w with gradient g, at rate r, decay λ and update t:
//!
//! ```text
//! m = β1 m + (1 - β1) g        v = β2 v + (1 - β2) g²        c = sqrt(1 - β2^t)
//!
//! adamw (PyTorch's AdamW):             w -= r λ w,  w -= r / (1 - β1^t) m / (sqrt(v) / c + ε)
//! adamw-s3prl (AdamW_with_schedule):   w -= r c / (1 - β1^t) (m / (sqrt(v) + ε) + λ w)
//! ```
//!
//! The second form is the first with ε / c for ε and λ c / (1 - β1^t) for λ; it decays no bias.
//!
//! Each device has its arithmetic, in [`cpu`] and `cuda`, with the same names; a build re-exports
//! those of its device.
use crate::tensor::Param;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;

#[cfg(not(feature = "cuda"))]
pub use cpu::{Moments, add, norm, step, step_all};
#[cfg(feature = "cuda")]
pub use cuda::{Moments, add, norm, step, step_all};

/// Numbers that one task updates, or whose squares it sums, as in adamw.cu.
///
/// It is fixed, so that the norm does not depend on the number of threads.
pub(crate) const CHUNK: usize = 1 << 15;

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
    /// Returns whether weight decay applies to the parameter of this name.
    pub fn decays(self, name: &str) -> bool {
        self == Form::Adamw || !name.contains("bias")
    }
}

/// The settings of one update of one parameter.
pub struct AdamW {
    pub form: Form,
    /// r
    pub rate: f64,
    /// β1 and β2
    pub betas: [f64; 2],
    /// ε
    pub eps: f64,
    /// λ
    pub decay: f64,
    /// t, from 1.
    pub update: u64,
}

/// The coefficients of an update, as [`step_all`] and the kernel of adamw.cu take them:
/// w = w · keep - rate · m / (sqrt(v) · correction + eps).
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    /// β1, β2, 1 - β1, 1 - β2
    betas: [f32; 4],
    /// The factor of weight decay, below 1.
    keep: f32,
    /// r / (1 - β1^t)
    rate: f32,
    /// 1 / c
    correction: f32,
    eps: f32,
}

/// One update of one parameter, of a device's types.
pub struct Update<'a, P = Param, M = Moments> {
    rule: Rule,
    weight: &'a mut P,
    moments: &'a mut M,
    gradient: &'a P,
    factor: f32,
}

impl<'a, P, M> Update<'a, P, M> {
    /// Prepares an update of `weight` and its moments by `gradient` times `factor`.
    ///
    /// The factor clips; a negative one ascends.
    pub fn new(
        adamw: &AdamW,
        weight: &'a mut P,
        moments: &'a mut M,
        gradient: &'a P,
        factor: f32,
    ) -> Self {
        Update {
            rule: adamw.rule(),
            weight,
            moments,
            gradient,
            factor,
        }
    }
}

impl AdamW {
    /// Computes the coefficients of this update, in f64 before they are rounded.
    pub(crate) fn rule(&self) -> Rule {
        let [b1, b2] = self.betas;
        let t = i32::try_from(self.update).unwrap_or(i32::MAX);
        let rate = self.rate / (1.0 - b1.powi(t));
        let correction = 1.0 / (1.0 - b2.powi(t)).sqrt();
        let (keep, eps) = match self.form {
            Form::Adamw => (1.0 - self.rate * self.decay, self.eps),
            Form::AdamwS3prl => (1.0 - rate / correction * self.decay, self.eps * correction),
        };
        Rule {
            betas: [b1 as f32, b2 as f32, (1.0 - b1) as f32, (1.0 - b2) as f32],
            keep: keep as f32,
            rate: rate as f32,
            correction: correction as f32,
            eps: eps as f32,
        }
    }
}

/// Returns the factor that clips gradients of this norm to `max_norm`, as PyTorch's
/// `clip_grad_norm_`; 1 without a maximum.
pub fn clip_factor(norm: f64, max_norm: Option<f64>) -> f32 {
    max_norm.map_or(1.0, |max| (max / (norm + 1e-6)).min(1.0) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::check::{close, noise};
    use crate::tensor::{param, read};

    #[test]
    fn updates_are_those_of_the_formulas() {
        let n = CHUNK + 77;
        let factor = 0.5;
        for form in [Form::Adamw, Form::AdamwS3prl] {
            let mut weight = param(noise("w", n));
            let mut moments = Moments::zeros(n);
            let mut w: Vec<f64> = noise("w", n).iter().map(|w| *w as f64).collect();
            let mut m = vec![0.0; n];
            let mut v = vec![0.0; n];
            for update in 1..4 {
                let gradient = noise(&format!("g{update}"), n);
                let adamw = AdamW {
                    form,
                    rate: 1e-2,
                    betas: [0.9, 0.98],
                    eps: 1e-6,
                    decay: 0.1,
                    update,
                };
                for i in 0..n {
                    let g = factor as f64 * gradient[i] as f64;
                    apply_formula(&adamw, g, &mut w[i], &mut m[i], &mut v[i]);
                }
                step(&adamw, &mut weight, &mut moments, &param(gradient), factor);
            }
            close(&read(&weight), &w, 1e-6);
        }
    }

    fn apply_formula(adamw: &AdamW, g: f64, w: &mut f64, m: &mut f64, v: &mut f64) {
        let [b1, b2] = adamw.betas;
        let t = adamw.update as i32;
        *m = b1 * *m + (1.0 - b1) * g;
        *v = b2 * *v + (1.0 - b2) * g * g;
        let c = (1.0 - b2.powi(t)).sqrt();
        let rate = adamw.rate / (1.0 - b1.powi(t));
        match adamw.form {
            Form::Adamw => {
                *w -= adamw.rate * adamw.decay * *w;
                *w -= rate * *m / (v.sqrt() / c + adamw.eps);
            }
            Form::AdamwS3prl => {
                *w -= rate * c * (*m / (v.sqrt() + adamw.eps) + adamw.decay * *w);
            }
        }
    }

    #[test]
    fn the_norm_is_that_of_all_gradients() {
        let gradients = [noise("a", 3 * CHUNK + 5), vec![], noise("b", 7)];
        let squares = gradients.iter().flatten().map(|g| (*g as f64).powi(2));
        let exact = squares.sum::<f64>().sqrt();
        let norm = norm(&gradients.map(param));
        assert!((norm / exact - 1.0).abs() < 1e-6, "{norm} is not {exact}");
    }

    #[test]
    fn clipping_reduces_only_larger_norms() {
        assert!((clip_factor(4.0, Some(1.0)) - 0.25).abs() < 1e-6);
        assert_eq!(clip_factor(0.5, Some(1.0)), 1.0);
        assert_eq!(clip_factor(4.0, None), 1.0);
    }
}
