//! [`PositionGateDevice`] with a warp for each frame of each head.
use super::PositionGateDevice;
use crate::cuda::gpu::{Address, Memory, for_each, gpu, launch};
use crate::cuda::sums::{Parts, add_column_sums};
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Matrix, Param, address, len, zeros};
use crate::tensor::{Grads, dimensions};

/// `Gate` of the kernels.
#[repr(C)]
#[derive(Clone, Copy)]
struct Gate {
    heads: Address,
    count: usize,
    all: usize,
    d: usize,
}

pub struct Saved {
    gate: Gate,
    /// Of all heads, those with a gate.
    _heads: Memory,
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
        let heads = gpu().upload(heads.iter().copied());
        let gate = Gate {
            heads: heads.at(),
            count,
            all: width / d,
            d,
        };
        let maps = gpu().memory(Precision::F32, 2 * d + 2);
        launch!(
            "sum_maps",
            for_each(2 * d + 2, 1),
            address(w),
            address(b),
            maps.at(),
            d
        );
        let ab = gpu().memory(Precision::F32, 2 * frames * count);
        let y = zeros((frames, count));
        launch!(
            "position_gate",
            grid(frames, count),
            address(x),
            maps.at(),
            address(c),
            ab.at(),
            address(&y),
            frames,
            gate
        );
        let saved = Saved {
            gate,
            _heads: heads,
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
        let Gate { count, d, .. } = saved.gate;
        let frames = dimensions(x).0;
        let du = gpu().memory(Precision::F32, 2 * frames * count);
        let dc = gpu().memory(Precision::F32, frames * count);
        launch!(
            "position_gate_backward",
            grid(frames, count),
            dy,
            saved.ab.at(),
            saved.maps.at(),
            address(c),
            du.at(),
            dc.at(),
            g.of(x),
            frames,
            saved.gate
        );
        let size = 2 * d + 2;
        let parts = Parts::new(frames, size);
        launch!(
            "map_sums",
            [size.div_ceil(256), parts.count()],
            du.at(),
            address(x),
            parts.at(),
            frames,
            parts.per,
            saved.gate
        );
        let dmaps = gpu().zeros(size);
        parts.add(dmaps.at());
        launch!(
            "spread_maps",
            for_each(8 * d, 1),
            dmaps.at(),
            g.of(w),
            g.of(b),
            d
        );
        let sums = gpu().zeros(count);
        add_column_sums(dc.at(), sums.at(), frames, count);
        launch!(
            "spread_heads",
            for_each(count, 1),
            sums.at(),
            g.of(c),
            saved.gate
        );
    }
}

fn grid(frames: usize, count: usize) -> [usize; 2] {
    [frames.div_ceil(8), count]
}
