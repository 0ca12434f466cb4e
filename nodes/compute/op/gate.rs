//! Gates of ops: a gate on the inputs of a product is a factor on the columns of its weight,
//! (x ∘ g) wᵀ = x (w ∘ g)ᵀ, so it costs a pass over the weight and none over the frames.
//! With d the gradient of w ∘ g: dw = d ∘ g, dg = Σ over rows of w ∘ d.
//! w, d (rows, inputs), g (inputs).
mod cpu;
use crate::tensor::{Param, Storage, Track, Vector, merge, split};
pub(super) use cpu::{backward, times};

/// Splits a gate from its tape and joins that tape with `tape`.
pub(super) fn join<T: Track<D>, D: Storage<f32>>(
    tape: T,
    gate: Option<&Vector<T, D>>,
) -> (Option<Param<D>>, T) {
    let Some(gate) = gate else {
        return (None, tape);
    };
    let (gate, gate_tape) = split(gate.clone());
    (Some(gate), merge(tape, gate_tape))
}
