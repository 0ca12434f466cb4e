//! [`MaskFramesDevice`] by kernels with a lane for each number.
use super::MaskFramesDevice;
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels;
use crate::cuda::sums::add_column_sums;
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Matrix, Param, Slot, address, len, zeros_like};
use crate::tensor::{Grads, dimensions};

impl MaskFramesDevice for Cuda {
    type Flags = Memory;

    fn flags(masked: Vec<bool>) -> Memory {
        gpu().upload(masked.into_iter().map(usize::from))
    }

    fn forward(x: &Matrix, masked: &Memory, e: &Param) -> Matrix {
        let n = len(x);
        let y = zeros_like(x);
        kernels::mask_rows(
            for_each(n, 1),
            address(x),
            address(e),
            masked.at(),
            address(&y),
            n,
            dimensions(x).1,
        );
        y
    }

    fn backward(
        dy: Address,
        masked: &Memory,
        (frames, width): (usize, usize),
        x: &Slot,
        e: &Param,
        g: &mut Grads<Cuda>,
    ) {
        let n = frames * width;
        // dy in the masked frames, and else zeros.
        let masked_dy = gpu().memory(Precision::F32, n);
        kernels::unmask_rows(
            for_each(n, 1),
            dy,
            masked.at(),
            g.at(x),
            masked_dy.at(),
            n,
            width,
        );
        add_column_sums(masked_dy.at(), g.of(e), frames, width);
    }
}
