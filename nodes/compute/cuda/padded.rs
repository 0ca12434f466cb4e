//! Arrays whose rows are filled up with zeros to a multiple of 8 numbers.
//!
//! Pruning leaves widths such as 617. cuBLAS multiplies rows by its fastest kernels only where each
//! begins at a multiple of 16 bytes, and kernels read 4 numbers at once only where 4 divides the
//! width. Zeros change no sum.
//!
//! The filled copy of a parameter is made by the first op that reads it. It serves all passes until
//! the parameter changes, or its thread ends.
use super::gpu::{Address, Memory, gpu};
use super::grid::for_each;
use super::kernels;
use super::product::{Factor, Out, View};
use crate::gemm::Precision;
use crate::tensor::cuda::{Param, address, id, len};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Numbers of which filled rows are a multiple: 16 bytes in bf16.
const MULTIPLE: usize = 8;

/// Rows and width of a matrix.
pub(crate) type Shape = [usize; 2];

/// Returns the numbers of a row of `width` that is filled up.
pub(crate) fn filled(width: usize) -> usize {
    width.next_multiple_of(MULTIPLE)
}

thread_local! {
    /// By the parameter's number.
    static COPIES: RefCell<HashMap<u64, Vec<FilledCopy>>> = RefCell::default();
}

/// A parameter, filled up.
struct FilledCopy {
    /// Bytes of a number.
    bytes: usize,
    shape: Shape,
    memory: Rc<Memory>,
}

/// Returns a weight as an operand of the shape `filled`, which is no smaller than its own. If they
/// are the same it is read where it is, or where its copy in bf16 is.
pub(crate) fn weight(precision: Precision, w: &Param, shape: Shape, filled: Shape) -> Factor {
    if shape == filled {
        Factor::weight(precision, w)
    } else {
        Factor::shared(parameter_copy(precision, w, shape, filled))
    }
}

/// Returns the filled copy of a parameter, which the first call since its last change makes.
fn parameter_copy(precision: Precision, x: &Param, shape: Shape, filled: Shape) -> Rc<Memory> {
    let bytes = precision.bytes();
    COPIES.with_borrow_mut(|copies| {
        let copies = copies.entry(id(x)).or_default();
        let mut found = copies.iter();
        if let Some(copy) = found.find(|copy| copy.bytes == bytes && copy.shape == filled) {
            return copy.memory.clone();
        }
        let memory = Rc::new(fill_up(precision, x, shape, filled));
        copies.push(FilledCopy {
            bytes,
            shape: filled,
            memory: memory.clone(),
        });
        memory
    })
}

/// Forgets the filled copies of a parameter, which has changed.
pub(crate) fn forget_copies(x: &Param) {
    COPIES.with_borrow_mut(|copies| copies.remove(&id(x)));
}

fn fill_up(precision: Precision, x: &Param, shape: Shape, filled: Shape) -> Memory {
    let [rows, width] = shape;
    let [more_rows, more] = filled;
    let memory = gpu().memory(precision, more_rows * more);
    kernels::fill_up(
        precision,
        for_each(more_rows * more, 1),
        address(x),
        memory.at(),
        rows,
        width,
        more_rows,
        more,
    );
    memory
}

/// Adds a product of the shape `filled` to the gradient of a weight of the shape `shape`, without the
/// rows and columns that the weight has not. `multiply` queues the product.
pub(crate) fn add_gradient(dw: Address, shape: Shape, filled: Shape, multiply: impl FnOnce(Out)) {
    let [rows, width] = shape;
    let [more_rows, more] = filled;
    if shape == filled {
        multiply(Out::Add(View::rows(dw, width)));
        return;
    }
    let product = gpu().memory(Precision::F32, more_rows * more);
    multiply(Out::Wide(View::of(&product, more)));
    let numbers = rows * width;
    let grid = for_each(numbers, 1);
    kernels::add_filled(grid, product.at(), dw, numbers, width, more);
}

/// A vector in f32, filled up.
pub(crate) enum Vector {
    /// It needs no filling.
    Whole(Param),
    Filled(Rc<Memory>),
}

impl Vector {
    /// Fills up a parameter, whose copy serves all passes until it changes.
    pub(crate) fn of_parameter(x: &Param) -> Vector {
        let width = len(x);
        Vector::filled_by(x, |shape| {
            parameter_copy(Precision::F32, x, [1, width], shape)
        })
    }

    /// Fills up a vector that is another one in the next pass, as gates are.
    pub(crate) fn of_result(x: &Param) -> Vector {
        let width = len(x);
        Vector::filled_by(x, |shape| {
            Rc::new(fill_up(Precision::F32, x, [1, width], shape))
        })
    }

    fn filled_by(x: &Param, fill: impl FnOnce(Shape) -> Rc<Memory>) -> Vector {
        let width = len(x);
        if filled(width) == width {
            Vector::Whole(x.clone())
        } else {
            Vector::Filled(fill([1, filled(width)]))
        }
    }

    pub(crate) fn at(&self) -> Address {
        match self {
            Vector::Whole(x) => address(x),
            Vector::Filled(memory) => memory.at(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adamw::cuda::{Moments, add, step};
    use crate::adamw::{AdamW, Form};
    use crate::op::check::noise;
    use crate::tensor::cuda::{param, read, zeros};

    /// Returns the numbers of a filled vector.
    fn numbers(vector: &Vector, count: usize) -> Vec<f32> {
        let copy = zeros((count,));
        let mask = crate::cuda::mask::Mask::times(1.0);
        crate::cuda::elementwise::add(vector.at(), address(&copy), count, mask);
        read(&copy)
    }

    #[test]
    fn a_copy_serves_until_its_parameter_changes() {
        let mut w = param(noise("w", 11));
        let filled_now = |w: &Param| {
            let mut numbers = read(w);
            numbers.resize(16, 0.0);
            numbers
        };
        let first = Vector::of_parameter(&w);
        assert_eq!(numbers(&first, 16), filled_now(&w));
        assert_eq!(Vector::of_parameter(&w).at(), first.at());
        assert_ne!(Vector::of_result(&w).at(), first.at());

        let before = read(&w);
        let gradient = param(noise("g", 11));
        let rule = AdamW {
            form: Form::Adamw,
            rate: 0.1,
            betas: [0.9, 0.98],
            eps: 1e-6,
            decay: 0.1,
            update: 1,
        };
        step(&rule, &mut w, &mut Moments::zeros(11), &gradient, 0.5);
        assert_ne!(read(&w), before);
        assert_eq!(numbers(&Vector::of_parameter(&w), 16), filled_now(&w));
        add(&mut w, &gradient);
        assert_eq!(numbers(&Vector::of_parameter(&w), 16), filled_now(&w));
    }
}
