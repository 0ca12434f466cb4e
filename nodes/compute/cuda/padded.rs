//! Arrays whose rows are filled up with zeros to a multiple of 8 numbers.
//!
//! Pruning leaves widths such as 617. cuBLAS multiplies rows by its fastest kernels only where each
//! begins at a multiple of 16 bytes, and kernels read 4 numbers at once only where 4 divides the
//! width. Zeros change no sum.
use super::gpu::{Address, Memory, gpu};
use super::grid::for_each;
use super::kernels;
use super::product::{Factor, Out, View};
use crate::gemm::Precision;
use crate::tensor::cuda::{Param, address, len};

/// Numbers of which filled rows are a multiple: 16 bytes in bf16.
const MULTIPLE: usize = 8;

/// Rows and width of a matrix.
pub(crate) type Shape = [usize; 2];

/// Returns the numbers of a row of `width` that is filled up.
pub(crate) fn filled(width: usize) -> usize {
    width.next_multiple_of(MULTIPLE)
}

/// Returns a weight of shape `own` as an operand of shape `to`, which is no smaller. If they are the
/// same it is read where it is, or where its copy in bf16 is.
pub(crate) fn weight(precision: Precision, w: &Param, own: Shape, to: Shape) -> Factor {
    if own == to {
        Factor::weight(precision, w)
    } else {
        fill_up(precision, w, own, to).into()
    }
}

fn fill_up(precision: Precision, x: &Param, own: Shape, to: Shape) -> Memory {
    let [rows, width] = own;
    let [more_rows, more] = to;
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

/// Adds a product of shape `to` to the gradient of a weight of shape `own`, without the rows and
/// columns that the weight has not. `multiply` queues the product.
pub(crate) fn add_gradient(dw: Address, own: Shape, to: Shape, multiply: impl FnOnce(Out)) {
    let [rows, width] = own;
    let [more_rows, more] = to;
    if own == to {
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
    Own(Param),
    Filled(Memory),
}

impl Vector {
    pub(crate) fn new(x: &Param) -> Vector {
        let width = len(x);
        if filled(width) == width {
            Vector::Own(x.clone())
        } else {
            Vector::Filled(fill_up(Precision::F32, x, [1, width], [1, filled(width)]))
        }
    }

    pub(crate) fn at(&self) -> Address {
        match self {
            Vector::Own(x) => address(x),
            Vector::Filled(memory) => memory.at(),
        }
    }
}
