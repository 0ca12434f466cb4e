//! [`FeedForwardDevice`] by one kernel each way between the two GEMMs, in their format.
//!
//! z is saved without its bias. The gate is a factor of the kernel, not of w2. The inner units are
//! filled up ([`crate::cuda::padded`]).
use super::{FeedForward, FeedForwardDevice};
use crate::cuda::gpu::{Memory, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels::{self, Pack};
use crate::cuda::mask::Mask;
use crate::cuda::padded::{self, Vector, add_gradient, filled};
use crate::cuda::product::{Factor, Out, View, product};
use crate::cuda::sums::Parts;
use crate::op::passes::cuda::Operand;
use crate::tensor::Grads;
use crate::tensor::cuda::{Cuda, Slot};

/// z and the weights in the format of products, b1 and the gate.
pub struct Activation {
    z: Memory,
    w1: Factor,
    w2: Factor,
    b1: Vector,
    gate: Option<Vector>,
}

impl FeedForwardDevice for Cuda {
    type Activation = Activation;

    fn feed_forward(layer: &FeedForward<Cuda>, x: &Operand, _: bool) -> (Memory, Activation) {
        let precision = layer.precision;
        let frames = layer.up.frames;
        let width = layer.up.width;
        let inner = layer.up.out;
        let units = filled(inner);
        let w1 = padded::weight(precision, &layer.w1, [inner, width], [units, width]);
        let w2 = padded::weight(precision, &layer.w2, [width, inner], [width, units]);
        let b1 = Vector::of_parameter(&layer.b1);
        let gate = layer.gate.as_ref().map(Vector::of_result);
        let z = gpu().memory(precision, frames * units);
        let h = gpu().memory(precision, frames * units);
        product(
            precision,
            [frames, units, width],
            x.rows(width),
            w1.rows(width).t(),
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
        let saved = Activation {
            z,
            w1,
            w2,
            b1,
            gate,
        };
        (output, saved)
    }

    fn add_feed_forward_gradients(
        layer: &FeedForward<Cuda>,
        dy: &Operand,
        saved: Activation,
        x: &Operand,
        slot: &Slot,
        g: &mut Grads<Cuda>,
    ) {
        let Activation {
            z,
            w1,
            w2,
            b1,
            gate,
        } = saved;
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
        drop(z);
        let dz_rows = View::of(&dz, units);
        add_gradient(g.of(&layer.w1), [inner, width], [units, width], |out| {
            product(
                precision,
                [units, width, frames],
                dz_rows.t(),
                x.rows(width),
                out,
            );
        });
        product(
            precision,
            [frames, width, units],
            dz_rows,
            w1.rows(width),
            Out::Add(View::rows(g.at(slot), width)),
        );
    }
}
