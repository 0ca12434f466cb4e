//! [`LogitDivergenceDevice`] by kernels with a warp for each frame.
use super::{Compared, LogitDivergenceDevice, Temperatures};
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::for_rows;
use crate::cuda::kernels;
use crate::cuda::sums::add_sum;
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Matrix, Number, address, zeros};
use crate::tensor::dimensions;

impl LogitDivergenceDevice for Cuda {
    type Targets = Memory;

    fn targets(classes: Vec<usize>) -> Memory {
        gpu().upload(classes)
    }

    fn forward(
        compared: Compared,
        z: &Matrix,
        x: &Matrix,
        targets: &Memory,
        temperatures: Temperatures,
    ) -> Number {
        let (frames, classes) = dimensions(z);
        let values = gpu().memory(Precision::F32, frames);
        let y = zeros(());
        kernels::logit_divergence(
            for_rows(frames),
            address(z),
            address(x),
            targets.at(),
            values.at(),
            frames,
            classes,
            1.0 / temperatures.student,
            1.0 / temperatures.teacher,
            compared as usize,
        );
        add_sum(&values, address(&y), frames, 1.0 / frames.max(1) as f64);
        y
    }

    fn backward(
        compared: Compared,
        dy: Address,
        z: &Matrix,
        x: &Matrix,
        targets: &Memory,
        temperatures: Temperatures,
        dz: Address,
    ) {
        let (frames, classes) = dimensions(z);
        kernels::logit_divergence_backward(
            for_rows(frames),
            address(z),
            address(x),
            targets.at(),
            dy,
            dz,
            frames,
            classes,
            1.0 / temperatures.student,
            1.0 / temperatures.teacher,
            compared as usize,
        );
    }
}
