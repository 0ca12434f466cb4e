//! A gate on the inputs of a product is a factor on the columns of its weight: (x ∘ g) wᵀ = x (w ∘ g)ᵀ. So gates cost a
//! pass over the weight, none over the frames. With d the gradient of w ∘ g: dw = d ∘ g, dg = Σ over rows of w ∘ d.
//! w, d (rows, inputs), g (inputs).
#[cfg(feature = "cuda")]
pub mod cuda;
use crate::parallel::{Shared, collect_chunks, parts, wide};
use crate::tensor::cpu::{Cpu, read};
use crate::tensor::{Param, Storage, Track, Vector, merge, split};

/// Separates a gate from its tape, and joins that tape with the op's.
pub fn join<T: Track<D>, D: Storage<f32>>(
    tape: T,
    gate: Option<&Vector<T, D>>,
) -> (Option<Param<D>>, T) {
    match gate.map(|g| split(g.clone())) {
        None => (None, tape),
        Some((gate, gate_tape)) => (Some(gate), merge(tape, gate_tape)),
    }
}

/// w ∘ g
pub fn times(w: &[f32], gate: &Param<Cpu>) -> Vec<f32> {
    let gate = read(gate);
    let row = |row: usize| w[row * gate.len()..].iter().zip(gate).map(|(w, g)| w * g);
    collect_chunks(w.len(), gate.len(), row)
}

/// d becomes dw; adds to dg.
pub fn pull(w: &[f32], d: &mut [f32], gate: &Param<Cpu>, dgate: &mut [f32]) {
    const COLUMNS: usize = 64;
    let (gate, d) = (read(gate), Shared::new(d));
    parts(dgate, COLUMNS, |part, dgate| {
        let from = part * COLUMNS;
        let mut sums = [0.0; COLUMNS];
        wide!(for row in (0..w.len()).step_by(gate.len()) {
            // SAFETY: each task has its own columns.
            let d = unsafe { d.part(row + from, dgate.len()) };
            for (((d, w), gate), sum) in d
                .iter_mut()
                .zip(&w[row + from..])
                .zip(&gate[from..])
                .zip(&mut sums)
            {
                *sum += w * *d;
                *d *= gate;
            }
        });
        dgate
            .iter_mut()
            .zip(&sums)
            .for_each(|(dgate, sum)| *dgate += sum);
    });
}
