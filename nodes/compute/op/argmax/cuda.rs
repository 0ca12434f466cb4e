//! [`ArgmaxDevice`] by a kernel with a warp for each frame, whose indices are copied back.
use super::ArgmaxDevice;
use crate::cuda::grid::for_rows;
use crate::cuda::kernels;
use crate::tensor::cuda::{Cuda, Matrix, address, read, zeros};
use crate::tensor::dimensions;

impl ArgmaxDevice for Cuda {
    fn argmax(x: &Matrix) -> Vec<usize> {
        let (frames, width) = dimensions(x);
        let indices = zeros((frames,));
        kernels::argmax(
            for_rows(frames),
            address(x),
            address(&indices),
            frames,
            width,
        );
        read(&indices).into_iter().map(|i| i as usize).collect()
    }
}
