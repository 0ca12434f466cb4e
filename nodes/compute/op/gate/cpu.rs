//! A gated weight and its gradients, by all threads.
use crate::parallel::{Shared, collect_chunks, for_each_chunk, wide};
use crate::tensor::cpu::{Param, read};

/// Columns whose sums one task takes together.
const COLUMNS: usize = 64;

/// Returns w ∘ g.
pub(crate) fn times(w: &[f32], gate: &Param) -> Vec<f32> {
    let gate = read(gate);
    collect_chunks(w.len(), gate.len(), |row| {
        w[row * gate.len()..].iter().zip(gate).map(|(w, g)| w * g)
    })
}

/// Turns the gradient of w ∘ g into that of w, in place, and adds to the gradient of g.
pub(crate) fn backward(w: &[f32], d: &mut [f32], gate: &Param, dgate: &mut [f32]) {
    let gate = read(gate);
    let d = Shared::new(d);
    for_each_chunk(dgate, COLUMNS, |part, dgate| {
        let first = part * COLUMNS;
        let mut sums = [0.0; COLUMNS];
        wide!(for row in (0..w.len()).step_by(gate.len()) {
            // SAFETY: each task has its own columns.
            let d = unsafe { d.part(row + first, dgate.len()) };
            for (((d, w), gate), sum) in d
                .iter_mut()
                .zip(&w[row + first..])
                .zip(&gate[first..])
                .zip(&mut sums)
            {
                *sum += w * *d;
                *d *= gate;
            }
        });
        for (dgate, sum) in dgate.iter_mut().zip(&sums) {
            *dgate += sum;
        }
    });
}
