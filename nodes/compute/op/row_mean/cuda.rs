//! [`RowMeanDevice`] by kernels with a lane for each channel of a row.
use super::RowMeanDevice;
use crate::cuda::gpu::{Address, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels;
use crate::tensor::cuda::{Cuda, Matrix, address, zeros};
use crate::tensor::{Spans, dimensions};

impl RowMeanDevice for Cuda {
    fn forward(x: &Matrix, spans: &Spans) -> Matrix {
        let width = dimensions(x).1;
        let y = zeros((spans.rows(), width));
        let starts = gpu().starts(spans);
        let n = spans.rows() * width;
        kernels::row_means(
            for_each(n, 1),
            address(x),
            starts.at(),
            address(&y),
            n,
            width,
        );
        y
    }

    fn backward(dy: Address, spans: &Spans, width: usize, dx: Address) {
        let starts = gpu().starts(spans);
        let n = spans.rows() * width;
        kernels::add_row_means_gradient(for_each(n, 1), dy, starts.at(), dx, n, width);
    }
}
