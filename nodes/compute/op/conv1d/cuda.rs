//! [`Conv1dDevice`] by batched GEMMs over slots.
//!
//! The input, activated and gated, is written once into slots of s frames, in the format of
//! products; there window w of all rows begins at slot w. cuBLAS takes no matrix whose rows overlap,
//! as windows that span q = ⌈k / s⌉ slots do: those of every q-th slot do not overlap, and q such
//! GEMMs are one batched call. So a sum over all taps is one sum, in f32.
//!
//! The result stays in slots, in that format, until it is needed as a whole; the next convolution
//! fills its own slots from them, and hands the gradient back through them. Channels are filled up
//! ([`crate::cuda::padded`]) wherever they are in slots, and so is the weight, which every call writes
//! in the order of products.
mod frames;
mod slots;
mod weight_gradient;

pub(super) use frames::Frames;
use slots::Slots;
use weight_gradient::add_weight_gradient;

use super::{Conv1dDevice, Convolution};
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels::{self, Pack};
use crate::cuda::padded::{Vector, filled};
use crate::cuda::product::{Out, View, products};
use crate::cuda::sums::add_padded_sums;
use crate::gemm::Precision;
use crate::op::conv_first::cuda::NormedFirst;
use crate::tensor::cuda::{Cuda, address, zeros};
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
    bias: Option<Vector>,
    saved: Option<Saved>,
}

/// The input, its gate, and the slots as they were written from it.
struct Saved {
    x: Frames,
    gate: Option<Vector>,
    in_slots: Memory,
}

impl Convolution<Cuda> {
    /// Returns the channels of a frame in slots. Samples and features are not filled up.
    fn filled_width(&self) -> usize {
        if self.activates {
            filled(self.width)
        } else {
            self.width
        }
    }

    /// Returns the channels of a frame of z.
    fn filled_out(&self) -> usize {
        filled(self.out)
    }

    /// Returns the numbers of the weight as products read it.
    fn filled_numbers(&self) -> usize {
        self.filled_out() * self.k * self.filled_width()
    }
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
            k, s, precision, ..
        } = conv;
        let width = conv.filled_width();
        let out = conv.filled_out();
        let slots = Slots::new(x.spans(), &conv);
        let gate = conv.gate.as_ref().map(Vector::of_result);
        let in_slots = x.fill(&conv, gate.as_ref().map_or(0, Vector::at), &slots);
        let numbers = conv.filled_numbers();
        let taps = gpu().memory(precision, numbers);
        let grid = for_each(numbers, 1);
        kernels::taps_first(
            precision,
            grid,
            address(&conv.w),
            taps.at(),
            numbers,
            conv.out,
            k,
            conv.width,
            width,
        );
        let z = gpu().memory(precision, slots.total * out);
        let q = slots.per_window();
        let slot = s * width;
        products(
            precision,
            q,
            [slots.count().div_ceil(q), out, k * width],
            View::of(&in_slots, q * slot).batch_stride(slot),
            View::of(&taps, k * width).t(),
            Out::Set(View::of(&z, q * out).batch_stride(out)),
        );
        let bias = conv.bias.as_ref().map(Vector::of_parameter);
        let saved = saves.then_some(Saved { x, gate, in_slots });
        let rule = Rule {
            conv,
            slots,
            bias,
            saved,
        };
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
            rule.conv.filled_out(),
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
            rule.conv.filled_out(),
            rule.slots.layout,
        );
        rule.accumulate(dz, g);
    }
}

impl Rule {
    /// Returns the address of the bias, or 0.
    fn bias(&self) -> Address {
        self.bias.as_ref().map_or(0, Vector::at)
    }

    /// Allocates the gradient of z, a frame a slot, after as many zero slots as a window spans
    /// before its last.
    fn gradient(&self) -> Memory {
        let lead = self.slots.per_window() - 1;
        let out = self.conv.filled_out();
        let mut dz = gpu().memory(self.conv.precision, (lead + self.slots.room()) * out);
        dz.clear(lead * out);
        dz
    }

    /// Returns the address of the first slot of such a gradient.
    fn first_slot(&self, dz: &Memory) -> Address {
        dz.element((self.slots.per_window() - 1) * self.conv.filled_out())
    }

    /// Adds to the gradients of everything that z comes from.
    fn accumulate(self, dz: Memory, g: &mut Grads<Cuda>) {
        let dz_slots = self.first_slot(&dz);
        let Rule {
            conv, slots, saved, ..
        } = self;
        let Some(Saved { x, gate, in_slots }) = saved else {
            return;
        };
        add_weight_gradient(&conv, &slots, dz_slots, &in_slots, g);
        drop(in_slots);
        if let Some(bias) = &conv.bias {
            let db = g.of(bias);
            let columns = [conv.filled_out(), conv.out];
            add_padded_sums(conv.precision, dz_slots, db, slots.total, columns);
        }
        if conv.activates {
            let dh = slots.input_gradient(&conv, &dz);
            drop(dz);
            x.accumulate(&conv, gate.as_ref().map_or(0, Vector::at), &slots, dh, g);
        }
    }
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
