//! Copies in bf16 of tensors that GEMMs read, found by the tensor's number.
//!
//! The copy of a weight is made by the first GEMM that reads it, and serves all passes until its
//! thread ends; an update writes it in the kernel that moves the weight. Of results only the newest
//! that was computed together with its copy is held: the next op is about to read it.
use super::gpu::{Address, Memory, gpu};
use super::grid::for_each;
use super::kernels::{self, Pack};
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Param, Shape, Tensor, address, id, len};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

thread_local! {
    static WEIGHTS: RefCell<HashMap<u64, Rc<Memory>>> = RefCell::default();
    static RESULT: RefCell<Option<(u64, Rc<Memory>)>> = RefCell::default();
}

/// Returns the copy of a weight, which the first call makes.
pub(crate) fn weight_copy(w: &Param) -> Rc<Memory> {
    WEIGHTS.with_borrow_mut(|copies| {
        copies
            .entry(id(w))
            .or_insert_with(|| Rc::new(narrowed(address(w), len(w))))
            .clone()
    })
}

/// Returns the address of a weight's copy, which a change of the weight must change too, or 0 if
/// there is none.
pub(crate) fn weight_copy_address(w: &Param) -> Address {
    WEIGHTS.with_borrow(|copies| copies.get(&id(w)).map_or(0, |copy| copy.at()))
}

/// Writes the copy of a weight that was changed, if there is one.
pub(crate) fn refresh(w: &Param) {
    let copy = weight_copy_address(w);
    if copy != 0 {
        narrow(address(w), copy, len(w));
    }
}

/// Holds the copy of a result for [`result_copy`], until the next result comes with one.
pub(crate) fn keep<S: Shape>(result: &Tensor<S, f32, Cuda>, copy: Memory) {
    RESULT.set(Some((id(result), Rc::new(copy))));
}

/// Returns the copy of `x` that [`keep`] holds, or makes one.
pub(crate) fn result_copy<S: Shape>(x: &Tensor<S, f32, Cuda>) -> Rc<Memory> {
    let kept = RESULT.with_borrow(|result| match result {
        Some((result, copy)) if *result == id(x) => Some(copy.clone()),
        _ => None,
    });
    kept.unwrap_or_else(|| Rc::new(narrowed(address(x), len(x))))
}

/// Returns `len` numbers of f32 in bf16.
pub(crate) fn narrowed(from: Address, len: usize) -> Memory {
    let to = gpu().memory(Precision::Bf16, len);
    narrow(from, to.at(), len);
    to
}

fn narrow(from: Address, to: Address, len: usize) {
    let grid = for_each(len, len);
    kernels::narrow(Precision::Bf16, Pack::of(len), grid, from, to, len);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adamw::cuda::{Moments, add, step};
    use crate::adamw::{AdamW, Form};
    use crate::op::check::noise;
    use crate::tensor::cuda::{param, read, zeros};

    /// Returns the weight as GEMMs read it.
    fn narrowed_weight(w: &Param) -> Vec<f32> {
        let n = len(w);
        let wide = zeros((n,));
        let from = weight_copy(w).at();
        let grid = for_each(n, n);
        kernels::widen(Precision::Bf16, Pack::of(n), grid, from, address(&wide), n);
        read(&wide)
    }

    /// Returns the weight as GEMMs would read it if its copy were made now.
    fn narrowed_anew(w: &Param) -> Vec<f32> {
        narrowed_weight(&param(read(w)))
    }

    #[test]
    fn the_copy_follows_the_weight() {
        for n in [12, 4099] {
            let mut w = param(noise("w", n));
            let mut moments = Moments::zeros(n);
            let g = param(noise("g", n));
            assert_eq!(narrowed_weight(&w), narrowed_anew(&w));
            let first = weight_copy(&w).at();
            for update in 1..4 {
                let before = narrowed_weight(&w);
                let rule = AdamW {
                    form: Form::Adamw,
                    rate: 0.1,
                    betas: [0.9, 0.98],
                    eps: 1e-6,
                    decay: 0.1,
                    update,
                };
                step(&rule, &mut w, &mut moments, &g, 0.5);
                assert_eq!(narrowed_weight(&w), narrowed_anew(&w), "update {update}");
                assert_ne!(narrowed_weight(&w), before, "update {update}");
            }
            add(&mut w, &g);
            assert_eq!(narrowed_weight(&w), narrowed_anew(&w));
            assert_eq!(weight_copy(&w).at(), first, "one copy serves all passes");
            w = param(noise("other", n)); // as a checkpoint restores weights
            assert_eq!(narrowed_weight(&w), narrowed_anew(&w));
        }
    }
}
