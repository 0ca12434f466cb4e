//! [`SelectFramesDevice`] by kernels with a lane for each number of y.
use super::SelectFramesDevice;
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels;
use crate::tensor::cuda::{Cuda, Matrix, address, zeros};
use crate::tensor::dimensions;

impl SelectFramesDevice for Cuda {
    type Chosen = Memory;

    fn chosen(frames: Vec<usize>) -> Memory {
        gpu().upload(frames)
    }

    fn forward(x: &Matrix, chosen: &Memory, count: usize) -> Matrix {
        let width = dimensions(x).1;
        let n = count * width;
        let y = zeros((count, width));
        kernels::select_rows(
            for_each(n, 1),
            address(x),
            chosen.at(),
            address(&y),
            n,
            width,
        );
        y
    }

    fn backward(dy: Address, chosen: &Memory, (count, width): (usize, usize), dx: Address) {
        let n = count * width;
        kernels::unselect_rows(for_each(n, 1), dy, chosen.at(), dx, n, width);
    }
}
