//! [`MapSoftmaxDevice`] by the kernels of attention_map.cu: heads of one channel have a scale of 1.
use super::MapSoftmaxDevice;
use crate::cuda::elementwise::add;
use crate::cuda::gpu::{Address, gpu};
use crate::cuda::kernels;
use crate::cuda::mask::Mask;
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::op::attention::cuda::padded_heads::PaddedHeads;
use crate::op::position_bias::cuda::Bias;
use crate::tensor::Spans;
use crate::tensor::cuda::{Cuda, Vector, address, zeros_like};

impl MapSoftmaxDevice for Cuda {
    fn forward(p: &Vector, spans: &Spans, heads: usize) -> Vector {
        let heads = squares(spans, heads);
        let y = zeros_like(p);
        add(
            address(p),
            address(&y),
            heads.scores_len(),
            Mask::times(1.0),
        );
        kernels::softmax(
            Precision::F32,
            heads.grid(),
            address(&y),
            heads.padded,
            heads.shape,
            Bias::argument(None),
        );
        y
    }

    fn backward(dy: Address, y: &Vector, spans: &Spans, heads: usize, dp: Address) {
        let heads = squares(spans, heads);
        let numbers = heads.scores_len();
        let ds = gpu().zeros(numbers);
        add(dy, ds.at(), numbers, Mask::times(1.0));
        kernels::softmax_backward(
            Precision::F32,
            heads.grid(),
            address(y),
            ds.at(),
            heads.padded,
            heads.shape,
        );
        add(ds.at(), dp, numbers, Mask::times(1.0));
    }
}

fn squares(spans: &Spans, heads: usize) -> PaddedHeads {
    let without_dropout = Mask::from(Dropout::NONE);
    PaddedHeads::new(spans, [heads, heads], 0, without_dropout, Precision::F32)
}
