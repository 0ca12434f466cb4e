//! [`Conv1dDevice`] by batched GEMMs over slots.
//!
//! The input, activated and gated, is written once into slots of s frames, in the format of
//! products; there window w of all rows begins at slot w. cuBLAS takes no matrix whose rows overlap,
//! as windows that span q = ⌈k / s⌉ slots do: those of every q-th slot do not overlap, and q such
//! GEMMs are one batched call. So a sum over all taps is one sum, in f32.
//!
//! The result stays in slots, in that format, until it is needed as a whole; the next convolution
//! fills its own slots from them, and hands the gradient back through them.
mod frames;
mod slots;

pub(super) use frames::Frames;
use slots::Slots;

use super::{Conv1dDevice, Convolution};
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels::{self, Pack};
use crate::cuda::product::{Out, View, products};
use crate::cuda::sums::add_narrow_sums;
use crate::gemm::Precision;
use crate::op::conv_first::cuda::NormedFirst;
use crate::tensor::cuda::{Cuda, address, len, zeros};
use crate::tensor::{Grads, Hidden, NoneTape};

/// A result in its slots, without the bias.
pub struct Output {
    z: Memory,
    rule: Rule,
}

/// A convolution and what its gradients need.
pub struct Rule {
    conv: Convolution<Cuda>,
    slots: Slots,
    saved: Option<Saved>,
}

/// The input, and the slots as they were filled from it.
struct Saved {
    x: Frames,
    filled: Memory,
}

impl Conv1dDevice for Cuda {
    type Frames = Frames;
    type Output = Output;
    type Rule = Rule;

    fn hidden(x: Hidden<NoneTape, Cuda>) -> Frames {
        Frames::Hidden(x)
    }
    fn first(normed: NormedFirst) -> Frames {
        Frames::First(Box::new(normed))
    }
    fn chained(output: Output, precision: Precision) -> Result<Frames, Output> {
        if output.rule.conv.precision == precision {
            Ok(Frames::Output(Box::new(output)))
        } else {
            Err(output)
        }
    }
    fn width(x: &Frames) -> usize {
        x.width()
    }

    fn convolve(conv: Convolution<Cuda>, x: Frames, saves: bool) -> Output {
        let Convolution {
            width,
            out,
            k,
            s,
            precision,
            ..
        } = conv;
        let slots = Slots::new(x.spans(), &conv);
        let filled = x.fill(&conv, &slots);
        let numbers = len(&conv.w);
        let taps = gpu().memory(precision, numbers);
        let grid = for_each(numbers, 1);
        kernels::taps_first(
            precision,
            grid,
            address(&conv.w),
            taps.at(),
            numbers,
            k,
            width,
        );
        let z = gpu().memory(precision, slots.total * out);
        let q = slots.per_window();
        let slot = s * width;
        products(
            precision,
            q,
            [slots.count().div_ceil(q), out, k * width],
            View::of(&filled, q * slot).batch_stride(slot),
            View::of(&taps, k * width).t(),
            Out::Set(View::of(&z, q * out).batch_stride(out)),
        );
        let saved = saves.then_some(Saved { x, filled });
        let rule = Rule { conv, slots, saved };
        Output { z, rule }
    }

    fn finish(Output { z, rule }: Output) -> (Hidden<NoneTape, Cuda>, Rule) {
        let out = rule.conv.out;
        let spans = rule.slots.windows.clone();
        let values = zeros((spans.total(), out));
        kernels::from_slots(
            rule.conv.precision,
            Pack::of(out),
            rule.slots.grid(1),
            z.at(),
            rule.bias(),
            address(&values),
            out,
            rule.slots.layout,
        );
        (Hidden { values, spans }, rule)
    }

    fn backward(rule: Rule, dy: Address, g: &mut Grads<Cuda>) {
        let dz = rule.gradient();
        kernels::gradient_into_slots(
            rule.conv.precision,
            Pack::of(rule.conv.out),
            rule.slots.grid(1),
            dy,
            rule.first_slot(&dz),
            rule.conv.out,
            rule.slots.layout,
        );
        rule.accumulate(dz, g);
    }
}

impl Rule {
    /// Returns the address of the bias, or 0.
    fn bias(&self) -> Address {
        self.conv.bias.as_ref().map_or(0, address)
    }

    /// Allocates the gradient of z, a frame a slot, after as many zero slots as a window spans
    /// before its last.
    fn gradient(&self) -> Memory {
        let lead = self.slots.per_window() - 1;
        let out = self.conv.out;
        let mut dz = gpu().memory(self.conv.precision, (lead + self.slots.room()) * out);
        dz.clear(lead * out);
        dz
    }

    /// Returns the address of the first slot of such a gradient.
    fn first_slot(&self, dz: &Memory) -> Address {
        dz.element((self.slots.per_window() - 1) * self.conv.out)
    }

    /// Adds to the gradients of everything that z comes from.
    fn accumulate(self, dz: Memory, g: &mut Grads<Cuda>) {
        let dz_slots = self.first_slot(&dz);
        let Rule { conv, slots, saved } = self;
        let Some(Saved { x, filled }) = saved else {
            return;
        };
        add_weight_gradient(&conv, &slots, dz_slots, &filled, g);
        drop(filled);
        if let Some(bias) = &conv.bias {
            let db = g.of(bias);
            add_narrow_sums(conv.precision, dz_slots, db, slots.total, conv.out);
        }
        if conv.activates {
            let dh = slots.input_gradient(&conv, &dz);
            drop(dz);
            x.accumulate(&conv, &slots, dh, g);
        }
    }
}

/// The most parts of a sum over windows.
const MOST_PARTS: usize = 8;
/// The fewest windows of a part. Fewer would cost more for the additional results than a fuller GPU
/// saves.
const PART_WINDOWS: usize = if cfg!(test) { 2 } else { 2048 };

/// Adds to the gradient of w: a GEMM over all windows for each slot of a window.
///
/// It has few results and a long sum, so a GPU would be mostly idle. The windows are cut into parts,
/// whose results are added last.
fn add_weight_gradient(
    conv: &Convolution<Cuda>,
    slots: &Slots,
    dz: Address,
    filled: &Memory,
    g: &mut Grads<Cuda>,
) {
    let Convolution {
        width,
        out,
        k,
        s,
        precision,
        ..
    } = *conv;
    let windows = slots.count();
    let parts = (windows / PART_WINDOWS).clamp(1, MOST_PARTS);
    // All but the last part are equal, as the GEMMs of a batch must be.
    let part_windows = windows / parts;
    let last_windows = windows - (parts - 1) * part_windows;
    let numbers = len(&conv.w);
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
                View::rows(filled.element(before * slot + first), slot)
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
    let grid = for_each(numbers, 1);
    kernels::taps_last(grid, dtaps.at(), g.of(&conv.w), parts, numbers, k, width);
}

#[cfg(all(test, feature = "simulated-gpu"))]
mod tests {
    use super::*;
    use crate::op::check::noise;
    use crate::op::{First, Input, Source, conv1d, frames_out};
    use crate::tensor::cuda::param;

    #[test]
    fn its_memory_is_that_of_its_slots() {
        const WIDTH: usize = 256;
        let parameters = [WIDTH * 10, WIDTH, WIDTH, WIDTH * 3];
        let [w, gamma, beta, next] = parameters.map(|n| param(noise("p", n)));
        let first = First::new(vec![noise("wave", 4000)], [&w, &gamma, &beta], 10, 5);
        let input = Input::Gelu(Source::First(first, NoneTape), None);
        let before = gpu().peak_bytes();
        drop(conv1d(input, &next, None, 3, 2, Precision::Bf16));
        let more = (gpu().peak_bytes() - before) as usize;
        let slots = 2 * WIDTH * frames_out(4000, 10, 5);
        assert!(
            more < slots + slots / 2,
            "{more} for {slots} bytes of slots"
        );
    }
}
