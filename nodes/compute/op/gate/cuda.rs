//! What ops with a gate share.
use crate::tensor::cuda::{Cuda, Param, Vector};
use crate::tensor::{Track, merge, split};

/// The gate off its tape, and the tape of both.
pub fn join<T: Track<Cuda>>(tape: T, gate: Option<&Vector<T>>) -> (Option<Param>, T) {
    match gate.map(|g| split(g.clone())) {
        None => (None, tape),
        Some((gate, other)) => (Some(gate), merge(tape, other)),
    }
}
