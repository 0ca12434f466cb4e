//! [`StatisticsDevice`] by kernels with a thread for each channel of each row.
use super::StatisticsDevice;
use crate::cuda::gpu::{Address, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels;
use crate::tensor::cuda::{Cuda, Matrix, address, zeros};
use crate::tensor::{Spans, dimensions};

/// Returns where each row begins, and where the last one ends.
fn bounds(rows: &Spans) -> Vec<usize> {
    std::iter::once(0)
        .chain(rows.iter().map(|row| row.end))
        .collect()
}

impl StatisticsDevice for Cuda {
    fn forward(x: &Matrix, rows: &Spans) -> Matrix {
        let width = dimensions(x).1;
        let n = rows.rows() * width;
        let y = zeros((rows.rows(), 2 * width));
        let bounds = gpu().upload(bounds(rows));
        kernels::statistics(
            for_each(n, 1),
            address(x),
            bounds.at(),
            address(&y),
            n,
            width,
        );
        y
    }

    fn backward(dy: Address, x: &Matrix, y: &Matrix, rows: &Spans, dx: Address) {
        let width = dimensions(x).1;
        let n = rows.rows() * width;
        let bounds = gpu().upload(bounds(rows));
        kernels::statistics_backward(
            for_each(n, 1),
            dy,
            address(x),
            bounds.at(),
            address(y),
            dx,
            n,
            width,
        );
    }
}
