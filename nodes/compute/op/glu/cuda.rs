//! [`GluDevice`] by kernels with a thread for each number of y.
use super::GluDevice;
use crate::cuda::gpu::Address;
use crate::cuda::grid::for_each;
use crate::cuda::kernels;
use crate::tensor::cuda::{Cuda, Matrix, address, zeros};
use crate::tensor::dimensions;

impl GluDevice for Cuda {
    fn forward(x: &Matrix) -> Matrix {
        let (frames, both) = dimensions(x);
        let width = both / 2;
        let n = frames * width;
        let y = zeros((frames, width));
        kernels::glu(for_each(n, 1), address(x), address(&y), n, width);
        y
    }

    fn backward(dy: Address, x: &Matrix, dx: Address) {
        let (frames, both) = dimensions(x);
        let width = both / 2;
        let n = frames * width;
        kernels::glu_backward(for_each(n, 1), dy, address(x), dx, n, width);
    }
}
