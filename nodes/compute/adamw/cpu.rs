//! The arithmetic of an update on the CPU; that of a GPU is nodes/compute/adamw/cuda.rs.
use crate::adamw;
use crate::adamw::AdamW;
use crate::parallel;
use crate::tensor::cpu::{Param, read, write};

pub use crate::adamw::Moments;

/// Moves `w` by its gradient times `factor`.
pub fn step(adamw: &AdamW, w: &mut Param, moments: &mut Moments, g: &Param, factor: f32) {
    adamw.step(write(w), moments, read(g), factor);
}

/// ‖all gradients‖₂.
pub fn norm<'a>(gradients: impl IntoIterator<Item = &'a Param>) -> f64 {
    adamw::norm(gradients.into_iter().map(read))
}

/// to += from
pub fn add(to: &mut Param, from: &Param) {
    parallel::add(write(to), read(from));
}
