//! The gradient of a convolution's weight.
use super::{Convolution, Slots};
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels;
use crate::cuda::product::{Out, View, products};
use crate::gemm::Precision;
use crate::tensor::Grads;
use crate::tensor::cuda::{Cuda, len};

/// The most parts of a sum over windows.
const MOST_PARTS: usize = 8;
/// The fewest windows of a part. Fewer would cost more for the additional results than a fuller GPU
/// saves.
const PART_WINDOWS: usize = if cfg!(test) { 2 } else { 2048 };

/// Adds to the gradient of w: a GEMM over all windows for each slot of a window.
///
/// It has few results and a long sum, so a GPU would be mostly idle. The windows are cut into parts,
/// whose results are added last.
pub(super) fn add_weight_gradient(
    conv: &Convolution<Cuda>,
    slots: &Slots,
    dz: Address,
    in_slots: &Memory,
    g: &mut Grads<Cuda>,
) {
    let Convolution {
        k, s, precision, ..
    } = *conv;
    let width = conv.filled_width();
    let out = conv.filled_out();
    let windows = slots.count();
    let parts = (windows / PART_WINDOWS).clamp(1, MOST_PARTS);
    // All but the last part are equal, as the GEMMs of a batch must be.
    let part_windows = windows / parts;
    let last_windows = windows - (parts - 1) * part_windows;
    let numbers = conv.filled_numbers();
    let slot = s * width;
    let dtaps = gpu().memory(Precision::F32, parts * numbers);
    for tap in (0..k).step_by(s) {
        let first = tap * width;
        let columns = s.min(k - tap) * width;
        let multiply = |part: usize, count: usize, windows: usize| {
            let before = part * part_windows;
            let dz = dz + (before * out * precision.bytes()) as Address;
            products(
                precision,
                count,
                [out, columns, windows],
                View::rows(dz, out).batch_stride(part_windows * out).t(),
                View::rows(in_slots.element(before * slot + first), slot)
                    .batch_stride(part_windows * slot),
                Out::Wide(
                    View::rows(dtaps.element(part * numbers + first), k * width)
                        .batch_stride(numbers),
                ),
            );
        };
        multiply(0, parts - 1, part_windows);
        multiply(parts - 1, 1, last_windows);
    }
    let weights = len(&conv.w);
    kernels::taps_last(
        for_each(weights, 1),
        dtaps.at(),
        g.of(&conv.w),
        parts,
        numbers,
        weights,
        k,
        conv.width,
        width,
    );
}
