//! [`GeluGateDevice`] by parallel loops over frames.
use super::GeluGateDevice;
use crate::math::{gelu, gelu_both};
use crate::op::gate;
use crate::parallel::{
    FRAMES_PER_TASK, add, column_sums, for_each_chunk, for_each_chunk_pair, wide,
};
use crate::tensor::cpu::{Cpu, Grads, Matrix, Param, read, tensor};
use crate::tensor::dimensions;

/// Factors of each channel.
pub struct Factors {
    fixed: Vec<f32>,
    /// gate ∘ fixed
    product: Vec<f32>,
}

impl GeluGateDevice for Cpu {
    type Factors = Factors;

    fn forward(x: &Matrix, gate: Option<&Param>, fixed: Option<&Param>) -> (Matrix, Factors) {
        let width = dimensions(x).1;
        let fixed = fixed.map_or_else(|| vec![1.0; width], |fixed| read(fixed).to_vec());
        let product = gate.map_or_else(|| fixed.clone(), |gate| gate::times(&fixed, gate));
        let xs = read(x);
        let mut y = vec![0.0; xs.len()];
        for_each_chunk(&mut y, width, |frame, y| {
            wide!({
                for ((y, x), factor) in y.iter_mut().zip(&xs[frame * width..]).zip(&product) {
                    *y = gelu(*x) * factor;
                }
            })
        });
        (tensor(y, dimensions(x)), Factors { fixed, product })
    }

    fn backward(
        dy: Vec<f32>,
        x: &Matrix,
        gate: Option<&Param>,
        Factors { fixed, product }: &Factors,
        g: &mut Grads,
    ) {
        let width = dimensions(x).1;
        let xs = read(x);
        let mut sums = vec![0.0; dy.len().div_ceil(FRAMES_PER_TASK * width) * width];
        for_each_chunk_pair(
            (g.of(x), FRAMES_PER_TASK * width),
            (&mut sums, width),
            |part, dx, sums| {
                wide!({
                    for (i, dx) in dx.chunks_exact_mut(width).enumerate() {
                        let at = (part * FRAMES_PER_TASK + i) * width;
                        let frame = dx
                            .iter_mut()
                            .zip(&dy[at..at + width])
                            .zip(&xs[at..at + width]);
                        for (((dx, dy), x), (sum, factor)) in
                            frame.zip(sums.iter_mut().zip(product))
                        {
                            let (h, slope) = gelu_both(*x);
                            *dx += dy * slope * factor;
                            *sum += dy * h;
                        }
                    }
                })
            },
        );
        if let Some(gate) = gate {
            let mut dgate = column_sums(&sums, width);
            for (d, fixed) in dgate.iter_mut().zip(fixed) {
                *d *= fixed;
            }
            add(g.of(gate), &dgate);
        }
    }
}
