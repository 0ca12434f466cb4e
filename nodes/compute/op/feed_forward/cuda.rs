//! [`FeedForwardDevice`] by one kernel each way between the two GEMMs, in their format.
//!
//! z is saved without its bias. The gate is a factor of the kernel, not of w2.
use super::{FeedForward, FeedForwardDevice};
use crate::cuda::gpu::{Memory, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels::{self, Pack};
use crate::cuda::mask::Mask;
use crate::cuda::product::{Factor, Out, View, product};
use crate::cuda::sums::Parts;
use crate::op::passes::Passes;
use crate::op::passes::cuda::Operand;
use crate::tensor::Grads;
use crate::tensor::cuda::{Cuda, address};

/// z and w2 in the format of products.
pub struct Activation {
    z: Memory,
    w2: Factor,
}

impl FeedForwardDevice for Cuda {
    type Activation = Activation;

    fn feed_forward(layer: &FeedForward<Cuda>, x: &Operand, _: bool) -> (Memory, Activation) {
        let precision = layer.precision;
        let frames = layer.up.frames;
        let width = layer.up.width;
        let inner = layer.up.out;
        let w2 = Factor::weight(precision, &layer.w2);
        let z = gpu().memory(precision, frames * inner);
        let h = gpu().memory(precision, frames * inner);
        product(
            precision,
            [frames, inner, width],
            x.rows(width),
            layer.w1.rows(width).t(),
            Out::Set(View::of(&z, inner)),
        );
        kernels::activate(
            precision,
            Pack::of(inner),
            for_each(frames * inner, inner),
            z.at(),
            address(&layer.b1),
            layer.gate.as_ref().map_or(0, address),
            h.at(),
            frames * inner,
            inner,
            Mask::from(layer.drop),
        );
        let output = gpu().memory(precision, frames * width);
        product(
            precision,
            [frames, width, inner],
            View::of(&h, inner),
            w2.rows(inner).t(),
            Out::Set(View::of(&output, width)),
        );
        (output, Activation { z, w2 })
    }

    fn feed_forward_gradient(
        layer: &FeedForward<Cuda>,
        dy: &Operand,
        Activation { z, w2 }: Activation,
        g: &mut Grads<Cuda>,
    ) -> Operand {
        let precision = layer.precision;
        let frames = layer.up.frames;
        let width = layer.up.width;
        let inner = layer.up.out;
        let dz = gpu().memory(precision, frames * inner);
        product(
            precision,
            [frames, inner, width],
            dy.rows(width),
            w2.rows(inner),
            Out::Set(View::of(&dz, inner)),
        );
        // Of b1 and of the gate.
        let sums = Parts::several(2, frames, inner);
        // Turns dh into dz, and z into h.
        kernels::activate_backward(
            precision,
            Pack::of(inner),
            sums.grid(),
            z.at(),
            dz.at(),
            address(&layer.b1),
            layer.gate.as_ref().map_or(0, address),
            sums.of_sum(0),
            sums.of_sum(1),
            frames,
            inner,
            sums.per,
            Mask::from(layer.drop),
        );
        let h = Operand::owned(z);
        Cuda::add_weight_gradient(precision, dy, &h, layer.down(), g.of(&layer.w2));
        let db1 = g.of(&layer.b1);
        match &layer.gate {
            Some(gate) => sums.add([db1, g.of(gate)]),
            None => sums.add([db1]),
        }
        Operand::owned(dz)
    }
}
