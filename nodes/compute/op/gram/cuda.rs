//! [`GramDevice`]: the D of all rows stay in memory from forward to backward.
use super::GramDevice;
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::{for_each, for_rows};
use crate::cuda::kernels;
use crate::cuda::mask::Mask;
use crate::cuda::sums::add_sum;
use crate::gemm::Precision::F32;
use crate::op::attention::cuda::padded_heads::PaddedHeads;
use crate::tensor::cuda::{Cuda, Matrix, Number, Slot, address, zeros};
use crate::tensor::{Grads, Spans, dimensions};

pub struct Saved {
    heads: PaddedHeads,
    /// (rows, padded, padded)
    d: Memory,
    a: Memory,
    b: Memory,
}

impl GramDevice for Cuda {
    type Saved = Saved;

    fn forward(
        [a, b]: [&Matrix; 2],
        [target_a, target_b]: [&Matrix; 2],
        spans: &Spans,
        unit: f64,
        _: bool,
    ) -> (Number, Saved) {
        let heads = one_head(spans, a);
        let target_heads = one_head(spans, target_a);
        let y = zeros(());
        let a = heads.split(address(a));
        let b = heads.split(address(b));
        let target_a = target_heads.split(address(target_a));
        let target_b = target_heads.split(address(target_b));
        let target = target_heads.scores(&target_a, &target_b);
        let d = heads.scores(&a, &b);
        let frames = heads.rows * heads.padded;
        let squares = gpu().memory(F32, frames);
        kernels::gram_difference(
            for_rows(frames),
            target.at(),
            d.at(),
            squares.at(),
            frames,
            heads.padded,
        );
        add_sum(&squares, address(&y), frames, unit);
        (y, Saved { heads, d, a, b })
    }

    fn backward(
        dy: Address,
        saved: &Saved,
        _: &Spans,
        unit: f64,
        [to_a, to_b]: [&Slot; 2],
        g: &mut Grads<Cuda>,
    ) {
        let Saved { heads, d, a, b } = saved;
        let n = heads.scores_len();
        let factor = -2.0 * unit as f32;
        kernels::gram_scale(for_each(n, 1), d.at(), dy, n, factor);
        heads.merge(&heads.mixed(d, b), g.at(to_a));
        heads.merge(&heads.mixed_back(d, a), g.at(to_b));
    }
}

/// Returns the layout of rows as heads of attention, one a row, over all of the width of x.
fn one_head(spans: &Spans, x: &Matrix) -> PaddedHeads {
    let width = dimensions(x).1;
    PaddedHeads::new(spans, [1, width], 0, Mask::times(1.0), F32)
}
