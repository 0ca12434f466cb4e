//! [`PositionGateDevice`] with a warp for each frame of each head.
use super::PositionGateDevice;
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels::{self, GateHeads, Grid};
use crate::cuda::sums::{Parts, add_column_sums};
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Matrix, Param, address, len, zeros};
use crate::tensor::{Grads, dimensions};

pub struct Saved {
    heads: GateHeads,
    /// Of all heads, those with a gate.
    _indices: Memory,
    /// The sums of four rows of w, (2, d), and of b, (2).
    maps: Memory,
    /// a and b, (frames, heads, 2).
    ab: Memory,
}

impl PositionGateDevice for Cuda {
    type Saved = Saved;

    fn forward(x: &Matrix, [w, b, c]: [&Param; 3], heads: &[usize]) -> (Matrix, Saved) {
        let (frames, width) = dimensions(x);
        let d = len(w) / 8;
        let count = heads.len();
        let indices = gpu().upload(heads.iter().copied());
        let heads = GateHeads {
            heads: indices.at(),
            count,
            all: width / d,
            d,
        };
        let maps = gpu().memory(Precision::F32, 2 * d + 2);
        kernels::sum_maps(for_each(2 * d + 2, 1), address(w), address(b), maps.at(), d);
        let ab = gpu().memory(Precision::F32, 2 * frames * count);
        let y = zeros((frames, count));
        kernels::position_gate(
            grid(frames, count),
            address(x),
            maps.at(),
            address(c),
            ab.at(),
            address(&y),
            frames,
            heads,
        );
        let saved = Saved {
            heads,
            _indices: indices,
            maps,
            ab,
        };
        (y, saved)
    }

    fn backward(
        dy: Address,
        x: &Matrix,
        [w, b, c]: [&Param; 3],
        saved: &Saved,
        g: &mut Grads<Cuda>,
    ) {
        let GateHeads { count, d, .. } = saved.heads;
        let frames = dimensions(x).0;
        let du = gpu().memory(Precision::F32, 2 * frames * count);
        let dc = gpu().memory(Precision::F32, frames * count);
        kernels::position_gate_backward(
            grid(frames, count),
            dy,
            saved.ab.at(),
            saved.maps.at(),
            address(c),
            du.at(),
            dc.at(),
            g.of(x),
            frames,
            saved.heads,
        );
        let size = 2 * d + 2;
        let parts = Parts::new(frames, size);
        kernels::map_sums(
            [size.div_ceil(256), parts.count()],
            du.at(),
            address(x),
            parts.of_sum(0),
            frames,
            parts.per,
            saved.heads,
        );
        let dmaps = gpu().zeros(size);
        parts.add([dmaps.at()]);
        kernels::spread_maps(for_each(8 * d, 1), dmaps.at(), g.of(w), g.of(b), d);
        let sums = gpu().zeros(count);
        add_column_sums(dc.at(), sums.at(), frames, count);
        kernels::spread_heads(for_each(count, 1), sums.at(), g.of(c), saved.heads);
    }
}

fn grid(frames: usize, count: usize) -> Grid {
    [frames.div_ceil(8), count]
}
