//! Copies in bf16 of what products read, found by their tensor: dfdx gives no number to two of them.
//!
//! Of a weight products of every pass read the copy that the first of them made, and an update writes it anew in the kernel
//! that moves the weight; it lives as long as the thread of its stage. Of results there is the newest that came with its
//! copy, which the next op is about to read.
use super::gpu::{Address, Memory, for_each, gpu};
use super::kernels::{self, Pack};
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Param, Shape, Tensor, address, id, len};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

thread_local! {
    static COPIES: RefCell<HashMap<u64, Rc<Memory>>> = RefCell::default();
    static NEWEST: RefCell<Option<(u64, Rc<Memory>)>> = RefCell::default();
}

/// That of `w`, made now if there is none.
pub fn of_weight(w: &Param) -> Rc<Memory> {
    COPIES.with_borrow_mut(|copies| {
        copies
            .entry(id(w))
            .or_insert_with(|| Rc::new(narrowed(address(w), len(w))))
            .clone()
    })
}

/// Where that of `w` lies, for whoever changes `w` to change it too; 0: there is none.
pub fn beside(w: &Param) -> Address {
    COPIES.with_borrow(|copies| copies.get(&id(w)).map_or(0, |copy| copy.at()))
}

/// After a change of `w`: its copy, if there is one, is narrowed anew.
pub fn refresh(w: &Param) {
    let (copy, n) = (beside(w), len(w));
    if copy != 0 {
        kernels::narrow(
            Precision::Bf16,
            Pack::of(n),
            for_each(n, n),
            address(w),
            copy,
            n,
        );
    }
}

/// The newest result that came with its copy.
pub fn keep<S: Shape>(of: &Tensor<S, f32, Cuda>, copy: Memory) {
    NEWEST.set(Some((id(of), Rc::new(copy))));
}

/// The copy of such a result, or one made now.
pub fn of_result<S: Shape>(x: &Tensor<S, f32, Cuda>) -> Rc<Memory> {
    let came = NEWEST.with_borrow(|newest| {
        newest
            .as_ref()
            .filter(|(of, _)| *of == id(x))
            .map(|(_, copy)| copy.clone())
    });
    came.unwrap_or_else(|| Rc::new(narrowed(address(x), len(x))))
}

/// Of f32 numbers.
pub fn narrowed(from: Address, len: usize) -> Memory {
    let to = gpu().memory(Precision::Bf16, len);
    kernels::narrow(
        Precision::Bf16,
        Pack::of(len),
        for_each(len, len),
        from,
        to.at(),
        len,
    );
    to
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adamw::cuda::{Moments, add, step};
    use crate::adamw::{AdamW, Form};
    use crate::op::check::noise;
    use crate::tensor::cuda::{param, read, zeros};

    /// What a product reads of `w` now.
    fn seen(w: &Param) -> Vec<f32> {
        let (n, wide) = (len(w), zeros((len(w),)));
        kernels::widen(
            Precision::Bf16,
            Pack::of(n),
            for_each(n, n),
            of_weight(w).at(),
            address(&wide),
            n,
        );
        read(&wide)
    }

    #[test]
    fn a_copy_is_that_of_the_weight_as_it_is() {
        for n in [12, 4099] {
            let fresh = |w: &Param| seen(&param(read(w)));
            let (mut w, mut moments, g) = (
                param(noise("w", n)),
                Moments::zeros(n),
                param(noise("g", n)),
            );
            assert_eq!(seen(&w), fresh(&w));
            let first = of_weight(&w).at();
            for update in 1..4 {
                let before = seen(&w);
                let (form, betas) = (Form::Adamw, [0.9, 0.98]);
                let rule = AdamW {
                    form,
                    rate: 0.1,
                    betas,
                    eps: 1e-6,
                    decay: 0.1,
                    update,
                };
                step(&rule, &mut w, &mut moments, &g, 0.5);
                assert!(
                    seen(&w) == fresh(&w) && seen(&w) != before,
                    "update {update}"
                );
            }
            add(&mut w, &g);
            assert_eq!(seen(&w), fresh(&w));
            assert_eq!(of_weight(&w).at(), first, "it was made once");
            w = param(noise("other", n)); // as a checkpoint puts weights back
            assert_eq!(seen(&w), fresh(&w));
        }
    }
}
