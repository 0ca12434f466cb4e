//! The operands of a product: its sizes, strided views of a and b, and the output c.
use crate::parallel::Shared;

/// Sizes of a product: a (m, k) times b (k, n) is c (m, n).
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows of a and c.
    pub m: usize,
    /// Columns of b and c.
    pub n: usize,
    /// Columns of a and rows of b: the depth.
    pub k: usize,
}

/// A strided view of a or b: element (row, column) is `data[row * rs + column * cs]`.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(super) data: &'a [f32],
    /// Row stride.
    pub(super) rs: usize,
    /// Column stride.
    pub(super) cs: usize,
}

impl<'a> View<'a> {
    /// Views `data` as a row-major matrix with leading dimension `stride`.
    ///
    /// The stride may be smaller than the width: rows then overlap, as a convolution's windows do.
    pub fn rows(data: &'a [f32], stride: usize) -> Self {
        View {
            data,
            rs: stride,
            cs: 1,
        }
    }

    /// Returns the transpose, a view of the same numbers.
    pub fn t(self) -> Self {
        View {
            rs: self.cs,
            cs: self.rs,
            ..self
        }
    }

    /// Returns whether a matrix (rows, columns) is within the data.
    pub(super) fn holds(&self, rows: usize, columns: usize) -> bool {
        rows * columns == 0 || (rows - 1) * self.rs + (columns - 1) * self.cs < self.data.len()
    }
}

/// The output c: row-major, set (beta = 0) or accumulated to (beta = 1).
pub struct Out<'a> {
    pub(super) data: Shared<'a>,
    /// Row stride, the leading dimension.
    pub(super) rs: usize,
    pub(super) accumulate: bool,
}

impl<'a> Out<'a> {
    /// Sets c = a b, with leading dimension `stride`; what `data` holds is not read.
    pub fn set(data: &'a mut [f32], stride: usize) -> Self {
        Out {
            data: Shared::new(data),
            rs: stride,
            accumulate: false,
        }
    }

    /// Accumulates c += a b, with leading dimension `stride`.
    pub fn accumulate(data: &'a mut [f32], stride: usize) -> Self {
        Out {
            data: Shared::new(data),
            rs: stride,
            accumulate: true,
        }
    }

    /// Sets or accumulates to (`add`) some columns of a matrix whose other columns other tasks
    /// write; c begins at the first number of `data`.
    ///
    /// # Safety
    /// While the product is computed, nobody else reads or writes these columns.
    pub unsafe fn columns(data: Shared<'a>, stride: usize, add: bool) -> Self {
        Out {
            data,
            rs: stride,
            accumulate: add,
        }
    }
}
