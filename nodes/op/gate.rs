//! A gate on the inputs of a product is a factor on the columns of its weight: (x ∘ g) wᵀ = x (w ∘ g)ᵀ. So gates cost a
//! pass over the weight, none over the frames. With d the gradient of w ∘ g: dw = d ∘ g, dg = Σ over rows of w ∘ d.
//! w, d (rows, inputs), g (inputs).
use crate::par::{add, column_sums, parts, wide, zip};
use crate::tensor::cpu::{Param, Track, Vector, merge, read, split};

/// The gate off its tape, and the tape of both.
pub fn join<T: Track>(tape: T, gate: Option<&Vector<T>>) -> (Option<Param>, T) {
    match gate.map(|g| split(g.clone())) {
        None => (None, tape),
        Some((gate, other)) => (Some(gate), merge(tape, other)),
    }
}

/// w ∘ g
pub fn times(mut w: Vec<f32>, gate: &Param) -> Vec<f32> {
    let gate = read(gate);
    parts(&mut w, gate.len(), |_, row| wide!(row.iter_mut().zip(gate).for_each(|(w, g)| *w *= g)));
    w
}

/// From d: adds to dg, gives dw.
pub fn pull(w: &[f32], d: Vec<f32>, gate: &Param, dgate: &mut [f32]) -> Vec<f32> {
    let mut along = w.to_vec();
    zip(&mut along, &d, |w, d| *w *= d);
    add(dgate, &column_sums(&along, read(gate).len()));
    times(d, gate)
}
