//! [`PositionalDevice`] as a convolution of slots of a few frames, so that a GEMM is wider than a
//! group's channels.
//!
//! cuBLAS takes no matrix whose rows overlap, as those of windows do: windows of every n-th slot,
//! for windows of n slots, do not overlap. The n such GEMMs of every group are one call.
mod group_slots;

use super::{PositionalConv, PositionalDevice};
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels;
use crate::cuda::sums::add_column_sums;
use crate::gemm::Precision;
use crate::tensor::Grads;
use crate::tensor::cuda::{Cuda, Matrix, Param, address, len, zeros};
use group_slots::GroupSlots;

pub struct Saved {
    slots: GroupSlots,
    /// x in slots.
    blocks: Memory,
    u: Memory,
    /// ‖v[:, :, t]‖ of each tap t, in f64.
    norms: Memory,
}

impl PositionalDevice for Cuda {
    type Saved = Saved;

    fn forward(conv: &PositionalConv, x: &Matrix, [gain, v, b]: [&Param; 3]) -> (Matrix, Saved) {
        let slots = GroupSlots::new(conv);
        let norms = gpu().memory(Precision::F32, 2 * conv.k);
        let rows = len(v) / conv.k;
        kernels::tap_norms([conv.k, 1], address(v), norms.at(), rows, conv.k);
        let taps = slots.taps([address(gain), address(v), norms.at()], false);
        let blocks = slots.memory(conv.precision);
        slots.fill(address(x), &blocks, conv.before(), conv.width);
        let out = slots.memory(Precision::F32);
        slots.convolve(&blocks, slots.lead, &taps, &out);
        drop(taps);
        let u = gpu().memory(Precision::F32, len(x));
        let y = zeros(conv.shape());
        kernels::positional(
            slots.grid,
            address(x),
            out.at(),
            address(b),
            u.at(),
            address(&y),
            conv.width,
            slots.layout,
        );
        let saved = Saved {
            slots,
            blocks,
            u,
            norms,
        };
        (y, saved)
    }

    fn backward(
        conv: &PositionalConv,
        dy: Address,
        x: &Matrix,
        [gain, v, b]: [&Param; 3],
        saved: Saved,
        g: &mut Grads<Cuda>,
    ) {
        let Saved { slots, u, .. } = &saved;
        let norms = saved.norms.at();
        // Writes du over u.
        kernels::positional_slope(for_each(len(x), 1), dy, u.at(), len(x));
        add_column_sums(u.at(), g.of(b), conv.spans.total(), conv.width);
        let grad = slots.memory(conv.precision);
        slots.fill(u.at(), &grad, 0, conv.width);
        let taps = slots.taps([address(gain), address(v), norms], true);
        let dslots = slots.memory(Precision::F32);
        slots.convolve(&grad, 0, &taps, &dslots);
        drop(taps);
        kernels::positional_backward(
            slots.grid,
            dy,
            dslots.at(),
            g.of(x),
            conv.width,
            conv.before(),
            slots.layout,
        );
        drop(dslots);
        let dtaps = slots.correlate(&grad, &saved.blocks);
        let numbers = len(v);
        let dw = gpu().memory(Precision::F32, numbers);
        let along = gpu().memory(Precision::F32, 2 * conv.k);
        let grid = for_each(numbers, 1);
        kernels::sum_places(grid, dtaps.at(), dw.at(), numbers, slots.layout);
        kernels::tap_gradients(
            [conv.k, 1],
            dw.at(),
            address(v),
            norms,
            along.at(),
            g.of(gain),
            numbers / conv.k,
            conv.k,
            conv.channels(),
        );
        kernels::direction_gradient(
            grid,
            dw.at(),
            address(v),
            address(gain),
            norms,
            along.at(),
            g.of(v),
            numbers,
            conv.k,
            conv.channels(),
        );
    }
}
