//! [`DistanceDevice`] by a kernel with a warp for each frame.
use super::{Distance, DistanceDevice};
use crate::cuda::gpu::{Address, gpu};
use crate::cuda::grid::for_rows;
use crate::cuda::kernels::{self, Pack};
use crate::cuda::sums::add_sum;
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Matrix, Number, address, zeros};
use crate::tensor::dimensions;

impl DistanceDevice for Cuda {
    fn forward(distance: Distance, o: &Matrix, t: &Matrix) -> Number {
        let (frames, width) = dimensions(o);
        let distances = gpu().memory(Precision::F32, frames);
        let y = zeros(());
        kernels::distance(
            Pack::of(width),
            for_rows(frames),
            address(o),
            address(t),
            distances.at(),
            frames,
            width,
            distance as usize,
        );
        add_sum(&distances, address(&y), frames, 1.0 / frames.max(1) as f64);
        y
    }

    fn backward(distance: Distance, dy: Address, o: &Matrix, t: &Matrix, d: Address) {
        let (frames, width) = dimensions(o);
        kernels::distance_backward(
            Pack::of(width),
            for_rows(frames),
            address(o),
            address(t),
            dy,
            d,
            frames,
            width,
            distance as usize,
        );
    }
}
