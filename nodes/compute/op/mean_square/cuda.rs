//! [`MeanSquareDevice`]: a sum for each frame, then the sum of all of them.
use super::MeanSquareDevice;
use crate::cuda::elementwise::{add, add_times};
use crate::cuda::gpu::{Address, gpu};
use crate::cuda::grid::for_rows;
use crate::cuda::kernels::{self, Pack};
use crate::cuda::mask::Mask;
use crate::cuda::sums::add_sum;
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Matrix, Number, address, len, zeros};
use crate::tensor::dimensions;

impl MeanSquareDevice for Cuda {
    fn forward(x: &Matrix) -> Number {
        let (frames, width) = dimensions(x);
        let squares = gpu().memory(Precision::F32, frames);
        let y = zeros(());
        kernels::dots(
            Pack::of(width),
            for_rows(frames),
            address(x),
            address(x),
            squares.at(),
            frames,
            width,
        );
        let unit = 1.0 / len(x).max(1) as f64;
        add_sum(&squares, address(&y), frames, unit);
        y
    }

    fn backward(dy: Address, x: &Matrix, dx: Address) {
        let scale = gpu().zeros(1);
        let unit = 2.0 / len(x).max(1) as f32;
        add(dy, scale.at(), 1, Mask::times(unit));
        add_times(address(x), scale.at(), dx, len(x));
    }
}
