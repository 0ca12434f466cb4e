//! [`GramDevice`]: the D of all rows are in memory at once, until their products with a and b are
//! made, which the backward pass scales.
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
    /// D b and Dᵀ a, each (rows, padded, width); `None` without a backward pass.
    products: Option<[Memory; 2]>,
}

impl GramDevice for Cuda {
    type Saved = Saved;

    fn forward(
        [a, b]: [&Matrix; 2],
        [target_a, target_b]: [&Matrix; 2],
        spans: &Spans,
        unit: f64,
        retain: bool,
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
        let products = retain.then(|| [heads.mixed(&d, &b), heads.mixed_back(&d, &a)]);
        (y, Saved { heads, products })
    }

    fn backward(
        dy: Address,
        saved: &Saved,
        _: &Spans,
        unit: f64,
        students: [&Slot; 2],
        g: &mut Grads<Cuda>,
    ) {
        let Saved { heads, products } = saved;
        let n = heads.rows * heads.padded * heads.shape.size;
        let factor = -2.0 * unit as f32;
        for (product, to) in products.iter().flatten().zip(students) {
            kernels::gram_scale(for_each(n, 1), product.at(), dy, n, factor);
            heads.merge(product, g.at(to));
        }
    }
}

/// Returns the layout of rows as heads of attention, one a row, over all of the width of x.
fn one_head(spans: &Spans, x: &Matrix) -> PaddedHeads {
    let width = dimensions(x).1;
    PaddedHeads::new(spans, [1, width], 0, Mask::times(1.0), F32)
}
