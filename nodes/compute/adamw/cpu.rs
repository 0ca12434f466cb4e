//! AdamW's arithmetic on the CPU.
use super::{AdamW, CHUNK, Rule, Update};
use crate::math::sum;
use crate::parallel;
use crate::parallel::{Shared, for_each, map, wide};
use crate::tensor::cpu::{Param, read, write};
use std::borrow::Cow;

/// The moments m and v of a parameter, in the CPU's memory.
pub struct Moments {
    m: Vec<f32>,
    v: Vec<f32>,
}

impl Moments {
    /// Returns the moments before the first update of a parameter of `n` numbers.
    pub fn zeros(n: usize) -> Moments {
        Moments::new(vec![0.0; n], vec![0.0; n])
    }

    /// Takes m and v, of the parameter's length, such as those of a checkpoint.
    pub fn new(m: Vec<f32>, v: Vec<f32>) -> Moments {
        Moments { m, v }
    }

    /// Returns m and v.
    pub fn read(&self) -> [Cow<'_, [f32]>; 2] {
        [Cow::from(&self.m), Cow::from(&self.v)]
    }
}

/// Updates `w` and its moments with the gradient `g` times `factor`, as [`step_all`].
pub fn step(adamw: &AdamW, w: &mut Param, moments: &mut Moments, g: &Param, factor: f32) {
    step_all(vec![Update::new(adamw, w, moments, g, factor)]);
}

/// Makes all updates.
///
/// # Panics
/// If weight, moments and gradient of one do not have the same length.
pub fn step_all(updates: Vec<Update<Param, Moments>>) {
    updates.into_iter().for_each(apply);
}

fn apply(update: Update<Param, Moments>) {
    let Update {
        rule,
        weight: w,
        moments,
        gradient: g,
        factor,
    } = update;
    let Rule {
        betas: [b1, b2, c1, c2],
        keep,
        rate,
        correction,
        eps,
    } = rule;
    let g = read(g);
    let w = write(w);
    let lengths = [w.len(), moments.m.len(), moments.v.len()];
    assert!(lengths == [g.len(); 3], "moments of another parameter");
    let w = Shared::new(w);
    let m = Shared::new(&mut moments.m);
    let v = Shared::new(&mut moments.v);
    for_each(g.len().div_ceil(CHUNK), |chunk| {
        let from = chunk * CHUNK;
        let g = &g[from..g.len().min(from + CHUNK)];
        // SAFETY: chunks do not overlap, and all four have the same length.
        let (w, m, v) = unsafe {
            (
                w.part(from, g.len()),
                m.part(from, g.len()),
                v.part(from, g.len()),
            )
        };
        wide!(for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(g) {
            let g = g * factor;
            *m = b1 * *m + c1 * g;
            *v = b2 * *v + c2 * g * g;
            *w = *w * keep - rate * *m / (v.sqrt() * correction + eps);
        });
    });
}

/// Returns the 2-norm of all gradients together.
pub fn norm<'a>(gradients: impl IntoIterator<Item = &'a Param>) -> f64 {
    let mut total = 0.0;
    for gradient in gradients {
        let gradient = read(gradient);
        let sums_of_squares = map(gradient.len().div_ceil(CHUNK), |chunk| {
            let from = chunk * CHUNK;
            let g = &gradient[from..gradient.len().min(from + CHUNK)];
            wide!(sum(g.len(), |i| g[i] * g[i])) as f64
        });
        total += sums_of_squares.iter().sum::<f64>();
    }
    total.sqrt()
}

/// Adds `source` to `target`, such as the gradients of two batches.
pub fn add(target: &mut Param, source: &Param) {
    parallel::add(write(target), read(source));
}
