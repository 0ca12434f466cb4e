//! The inputs of a convolution: how slots are filled from them, and how gradients come back.
use super::{Convolution, Output, Slots};
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::kernels::{self, Pack};
use crate::cuda::sums::add_padded_sums;
use crate::op::conv_first::cuda::NormedFirst;
use crate::tensor::cuda::{Cuda, address};
use crate::tensor::{Grads, Hidden, NoneTape, Spans};

/// The input of a convolution off its tape.
pub enum Frames {
    Hidden(Hidden<NoneTape, Cuda>),
    First(Box<NormedFirst>),
    Output(Box<Output>),
}

impl Frames {
    pub fn spans(&self) -> &Spans {
        match self {
            Frames::Hidden(x) => &x.spans,
            Frames::First(first) => &first.spans,
            Frames::Output(output) => &output.rule.slots.windows,
        }
    }

    pub fn width(&self) -> usize {
        match self {
            Frames::Hidden(x) => x.width(),
            Frames::First(first) => first.width(),
            Frames::Output(output) => output.rule.conv.out,
        }
    }

    /// Returns x' in slots, in the format of products. `gate` is filled up.
    pub fn fill(&self, conv: &Convolution<Cuda>, gate: Address, slots: &Slots) -> Memory {
        let Convolution { s, precision, .. } = *conv;
        let width = conv.filled_width();
        let in_slots = gpu().memory(precision, slots.room() * s * width);
        match self {
            Frames::Hidden(x) => kernels::into_slots(
                precision,
                Pack::of(conv.width),
                slots.grid(s),
                address(&x.values),
                gate,
                in_slots.at(),
                conv.width,
                width,
                conv.activates,
                slots.layout,
            ),
            Frames::First(first) => {
                let longest = slots.longest * s;
                first.fill(precision, gate, in_slots.at(), longest, slots.layout)
            }
            Frames::Output(output) => kernels::slots_into_slots(
                precision,
                Pack::of(width),
                slots.grid(s),
                output.z.at(),
                output.rule.bias(),
                gate,
                in_slots.at(),
                width,
                output.rule.slots.layout,
                slots.layout,
            ),
        }
        in_slots
    }

    /// Adds to the gradients of x and the gate, which is at an address filled up, from that of the
    /// slots.
    pub fn accumulate(
        self,
        conv: &Convolution<Cuda>,
        gate_address: Address,
        slots: &Slots,
        dh: Memory,
        g: &mut Grads<Cuda>,
    ) {
        let Convolution { s, precision, .. } = *conv;
        let width = conv.filled_width();
        let gate = conv.gate.as_ref();
        // The kernels leave the gate's gradient of each frame where dh was.
        let add_gate_gradient = |dh: &Memory, g: &mut Grads<Cuda>| {
            if let Some(gate) = gate {
                let columns = [width, conv.width];
                add_padded_sums(precision, dh.at(), g.of(gate), slots.total * s, columns);
            }
        };
        match self {
            Frames::First(first) => {
                let gate = gate.map(|gate| (gate, gate_address));
                first.accumulate(precision, dh.at(), gate, Some(slots.layout), g);
            }
            Frames::Hidden(x) => {
                kernels::gradient_from_slots(
                    precision,
                    Pack::of(conv.width),
                    slots.grid(s),
                    address(&x.values),
                    gate_address,
                    dh.at(),
                    g.of(&x.values),
                    conv.width,
                    width,
                    slots.layout,
                );
                add_gate_gradient(&dh, g);
            }
            Frames::Output(output) => {
                let Output { z, rule } = *output;
                let dz = rule.gradient();
                kernels::gradient_between_slots(
                    precision,
                    Pack::of(width),
                    rule.slots.grid(1),
                    z.at(),
                    rule.bias(),
                    gate_address,
                    dh.at(),
                    rule.first_slot(&dz),
                    width,
                    rule.slots.layout,
                    slots.layout,
                );
                add_gate_gradient(&dh, g);
                drop((z, dh));
                rule.accumulate(dz, g);
            }
        }
    }
}
