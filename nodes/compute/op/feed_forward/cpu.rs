//! [`FeedForwardDevice`] by GEMMs whose epilogues do all between them.
//!
//! GELU and dropout run on each tile of z while it is in cache; the backward pass runs them again
//! on the tiles of dh, and writes h over z. The gate is part of w2 ([`crate::op::gate`]).
use super::{FeedForward, FeedForwardDevice};
use crate::gemm::{Epilogue, Out, Shape, View, product};
use crate::op::gate;
use crate::op::passes::Passes;
use crate::op::passes::cpu::{Operand, affine, times_weight, weight_gradient};
use crate::parallel::{Shared, add, column_sums};
use crate::tensor::Slot;
use crate::tensor::cpu::{Cpu, Grads, Matrix, read, tensor};
use std::borrow::Cow;

impl FeedForwardDevice for Cpu {
    /// z
    type Activation = Vec<f32>;

    fn feed_forward(layer: &FeedForward<Cpu>, x: &Operand, saves: bool) -> (Matrix, Vec<f32>) {
        let up = layer.up;
        let numbers = if saves { up.frames * up.out } else { 0 };
        let mut z = Vec::with_capacity(numbers);
        let then = Epilogue::BiasGelu {
            bias: read(&layer.b1),
            keep: saves.then(|| Shared::spare(&mut z)),
            drop: layer.drop,
        };
        let shape = Shape {
            m: up.frames,
            n: up.out,
            k: up.width,
        };
        let w1 = Cpu::weight(layer.precision, &layer.w1);
        let h = times_weight(layer.precision, x.rows(up.width), &w1, shape, then);
        // SAFETY: the epilogue has written every number of z.
        unsafe { z.set_len(numbers) };
        let shape = Shape {
            m: up.frames,
            n: up.width,
            k: up.out,
        };
        let b2 = read(&layer.b2);
        let y = match layer.gate {
            None => {
                let w2 = Cpu::weight(layer.precision, &layer.w2);
                let h = View::rows(&h, up.out);
                times_weight(layer.precision, h, &w2, shape, Epilogue::Bias(b2))
            }
            Some(_) => affine(layer.precision, &h, &gated_weight(layer), b2, shape),
        };
        (tensor(y, (up.frames, up.width)), z)
    }

    fn add_feed_forward_gradients(
        layer: &FeedForward<Cpu>,
        dy: &Operand,
        z: Vec<f32>,
        x: &Operand,
        slot: &Slot<Cpu>,
        g: &mut Grads,
    ) {
        let precision = layer.precision;
        let frames = layer.up.frames;
        let width = layer.up.width;
        let inner = layer.up.out;
        let mut h = z; // The epilogue turns z into h.
        let then = Epilogue::GeluBackward {
            z: Shared::new(&mut h),
            width: inner,
            drop: layer.drop,
        };
        let shape = Shape {
            m: frames,
            n: inner,
            k: width,
        };
        let gated = gated_weight(layer);
        let dz = product(
            precision,
            shape,
            dy.rows(width),
            View::rows(&gated, inner),
            then,
        );
        let shape = Shape {
            m: width,
            n: inner,
            k: frames,
        };
        let w2 = &layer.w2;
        match &layer.gate {
            None => weight_gradient(
                precision,
                dy.read(),
                &h,
                Out::accumulate(g.of(w2), inner),
                shape,
            ),
            Some(gate) => {
                let h = View::rows(&h, inner);
                let mut d = product(precision, shape, dy.rows(width).t(), h, Epilogue::None);
                gate::backward(read(w2), &mut d, gate, g.of(gate));
                add(g.of(w2), &d);
            }
        }
        drop(h);
        add(g.of(&layer.b1), &column_sums(&dz, inner));
        let dz = Operand::Owned(dz);
        Cpu::add_weight_gradient(precision, &dz, x, layer.up, g.of(&layer.w1));
        let w1 = Cpu::weight(precision, &layer.w1);
        Cpu::add_input_gradient(precision, &dz, &w1, layer.up, g.at(slot));
    }
}

/// Returns w2 ∘ gate.
fn gated_weight(layer: &FeedForward<Cpu>) -> Cow<'_, [f32]> {
    let w2 = read(&layer.w2);
    match &layer.gate {
        None => w2.into(),
        Some(gate) => gate::times(w2, gate).into(),
    }
}
