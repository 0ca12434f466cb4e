//! [`CrossEntropyDevice`] by kernels with a warp for each frame. The softmax's parts are saved.
use super::{CrossEntropyDevice, WeightedLabels};
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::for_rows;
use crate::cuda::kernels;
use crate::cuda::sums::add_sum;
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Matrix, Number, Param, address, param, zeros};
use crate::tensor::dimensions;

pub struct Saved {
    labels: Memory,
    weights: Param,
    unit: f64,
    /// (frames, 2): the largest logit, and the sum of exponents after its subtraction
    softmax: Memory,
}

impl CrossEntropyDevice for Cuda {
    type Saved = Saved;

    fn forward(x: &Matrix, labels: WeightedLabels) -> (Number, Saved) {
        let (frames, classes) = dimensions(x);
        let saved = Saved {
            labels: gpu().upload(labels.labels),
            weights: param(labels.weights),
            unit: labels.unit,
            softmax: gpu().memory(Precision::F32, 2 * frames),
        };
        let values = gpu().memory(Precision::F32, frames);
        let y = zeros(());
        kernels::cross_entropy(
            for_rows(frames),
            address(x),
            saved.labels.at(),
            address(&saved.weights),
            values.at(),
            saved.softmax.at(),
            frames,
            classes,
        );
        add_sum(&values, address(&y), frames, saved.unit);
        (y, saved)
    }

    fn backward(dy: Address, x: &Matrix, saved: &Saved, dx: Address) {
        let (frames, classes) = dimensions(x);
        kernels::cross_entropy_backward(
            for_rows(frames),
            address(x),
            saved.labels.at(),
            address(&saved.weights),
            saved.softmax.at(),
            dy,
            dx,
            frames,
            classes,
            saved.unit as f32,
        );
    }
}
