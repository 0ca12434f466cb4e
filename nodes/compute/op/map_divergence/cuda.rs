//! [`MapDivergenceDevice`] by kernels with a warp for each query of a row. P is padded
//! ([`PaddedHeads`]); its mean is not.
use super::{MapDivergenceDevice, MapShape, pairs};
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::for_rows;
use crate::cuda::kernels;
use crate::cuda::mask::Mask;
use crate::cuda::sums::add_sum;
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::op::attention::cuda::padded_heads::PaddedHeads;
use crate::tensor::Spans;
use crate::tensor::cuda::{Cuda, Matrix, Number, Vector, address, zeros};

impl MapDivergenceDevice for Cuda {
    fn mean(p: &Vector, spans: &Spans, heads: usize) -> Matrix {
        let squares = Squares::new(spans, heads);
        let mean = zeros((squares.pairs, 1));
        kernels::mean_map(
            squares.grid(),
            address(p),
            squares.starts.at(),
            address(&mean),
            squares.heads.padded,
            squares.heads.shape,
        );
        mean
    }

    fn forward(mean: &Matrix, target: &Matrix, spans: &Spans, unit: f64) -> Number {
        let squares = Squares::new(spans, 1);
        let queries = spans.total();
        let divergences = gpu().memory(Precision::F32, queries);
        let y = zeros(());
        kernels::map_divergence(
            squares.grid(),
            address(mean),
            address(target),
            squares.starts.at(),
            divergences.at(),
            squares.heads.shape,
        );
        add_sum(&divergences, address(&y), queries, unit);
        y
    }

    fn backward(
        dy: Address,
        mean: &Matrix,
        target: &Matrix,
        shape: MapShape,
        unit: f64,
        dp: Address,
    ) {
        let squares = Squares::new(shape.spans, shape.heads);
        kernels::map_divergence_backward(
            squares.grid(),
            address(mean),
            address(target),
            dy,
            squares.starts.at(),
            dp,
            squares.heads.padded,
            -(unit / shape.heads as f64) as f32,
            squares.heads.shape,
        );
    }
}

/// Where the (queries, keys) matrices of rows lie, with heads and without.
struct Squares {
    heads: PaddedHeads,
    /// Where the matrix of each row begins, and where the last one ends.
    starts: Memory,
    pairs: usize,
}

impl Squares {
    fn new(spans: &Spans, heads: usize) -> Squares {
        let squares = pairs(spans);
        let without_dropout = Mask::from(Dropout::NONE);
        Squares {
            heads: PaddedHeads::new(spans, [heads, heads], 0, without_dropout, Precision::F32),
            starts: gpu().starts(&squares),
            pairs: squares.total(),
        }
    }

    /// Returns the grid of a kernel with a warp for each query of each row.
    fn grid(&self) -> [usize; 2] {
        [for_rows(self.heads.padded)[0], self.heads.rows]
    }
}
