//! [`FeedForwardDevice`] by one kernel each way between the two GEMMs, in their format.
//!
//! z is saved without its bias. The gate is a factor of the kernel, not of w2. The inner units are
//! filled up ([`crate::cuda::padded`]), and so are the weights, at every call.
use super::{FeedForward, FeedForwardDevice};
use crate::cuda::gpu::{Memory, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels::{self, Pack};
use crate::cuda::mask::Mask;
use crate::cuda::padded::{self, Vector, add_gradient, filled};
use crate::cuda::product::{Factor, Out, View, product};
use crate::cuda::sums::Parts;
use crate::gemm::Precision;
use crate::op::passes::Affine;
use crate::op::passes::cuda::Operand;
use crate::tensor::Grads;
use crate::tensor::cuda::{Cuda, Param, Slot};

/// z and w2 in the format of products, b1 and the gate.
pub struct Activation {
    z: Memory,
    w2: Factor,
    b1: Vector,
    gate: Option<Vector>,
}

impl FeedForwardDevice for Cuda {
    type Activation = Activation;

    fn first_weight(precision: Precision, w1: &Param, up: Affine) -> Operand {
        let own = [up.out, up.width];
        Operand::of(padded::weight(
            precision,
            w1,
            own,
            [filled(up.out), up.width],
        ))
    }

    fn feed_forward(layer: &FeedForward<Cuda>, x: &Operand, _: bool) -> (Memory, Activation) {
        let precision = layer.precision;
        let frames = layer.up.frames;
        let width = layer.up.width;
        let inner = layer.up.out;
        let units = filled(inner);
        let w2 = padded::weight(precision, &layer.w2, [width, inner], [width, units]);
        let b1 = Vector::new(&layer.b1);
        let gate = layer.gate.as_ref().map(Vector::new);
        let z = gpu().memory(precision, frames * units);
        let h = gpu().memory(precision, frames * units);
        product(
            precision,
            [frames, units, width],
            x.rows(width),
            layer.w1.rows(width).t(),
            Out::Set(View::of(&z, units)),
        );
        kernels::activate(
            precision,
            Pack::of(units),
            for_each(frames * units, units),
            z.at(),
            b1.at(),
            gate.as_ref().map_or(0, Vector::at),
            h.at(),
            frames * units,
            inner,
            units,
            Mask::from(layer.drop),
        );
        let output = gpu().memory(precision, frames * width);
        product(
            precision,
            [frames, width, units],
            View::of(&h, units),
            w2.rows(units).t(),
            Out::Set(View::of(&output, width)),
        );
        (output, Activation { z, w2, b1, gate })
    }

    fn feed_forward_gradient(
        layer: &FeedForward<Cuda>,
        dy: &Operand,
        Activation { z, w2, b1, gate }: Activation,
        g: &mut Grads<Cuda>,
    ) -> Operand {
        let precision = layer.precision;
        let frames = layer.up.frames;
        let width = layer.up.width;
        let inner = layer.up.out;
        let units = filled(inner);
        let dz = gpu().memory(precision, frames * units);
        product(
            precision,
            [frames, units, width],
            dy.rows(width),
            w2.rows(units),
            Out::Set(View::of(&dz, units)),
        );
        // Of b1 and of the gate.
        let sums = Parts::several(2, frames, units).of_columns(inner);
        // Turns dh into dz, and z into h.
        kernels::activate_backward(
            precision,
            Pack::of(units),
            sums.grid(),
            z.at(),
            dz.at(),
            b1.at(),
            gate.as_ref().map_or(0, Vector::at),
            sums.of_sum(0),
            sums.of_sum(1),
            frames,
            inner,
            units,
            sums.per,
            Mask::from(layer.drop),
        );
        let dw2 = g.of(&layer.w2);
        add_gradient(dw2, [width, inner], [width, units], |out| {
            let shape = [width, units, frames];
            product(
                precision,
                shape,
                dy.rows(width).t(),
                View::of(&z, units),
                out,
            );
        });
        let db1 = g.of(&layer.b1);
        match &layer.gate {
            Some(gate) => sums.add([db1, g.of(gate)]),
            None => sums.add([db1]),
        }
        Operand::owned(dz)
    }

    fn add_first_gradients(
        layer: &FeedForward<Cuda>,
        dz: &Operand,
        x: &Operand,
        w1: &Param,
        slot: &Slot,
        g: &mut Grads<Cuda>,
    ) {
        let precision = layer.precision;
        let frames = layer.up.frames;
        let width = layer.up.width;
        let inner = layer.up.out;
        let units = filled(inner);
        add_gradient(g.of(w1), [inner, width], [units, width], |out| {
            let shape = [units, width, frames];
            product(precision, shape, dz.rows(units).t(), x.rows(width), out);
        });
        product(
            precision,
            [frames, width, units],
            dz.rows(units),
            layer.w1.rows(width),
            Out::Add(View::rows(g.at(slot), width)),
        );
    }
}
