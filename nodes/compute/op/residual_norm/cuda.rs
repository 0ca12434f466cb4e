//! [`ResidualNormDevice`] by one kernel each way: the sum is written where it is normalised, and
//! its gradient is not stored.
use super::{OutputRule, ResidualNormDevice, SubLayer};
use crate::cuda::gpu::{Memory, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels::{self, Added, Pack};
use crate::cuda::mask::Mask;
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::op::layer_norm::cuda::Norm;
use crate::op::passes::cuda::Operand;
use crate::tensor::cuda::{Cuda, Matrix, Param, Slot, address, record_hidden, zeros};
use crate::tensor::{Hidden, Track, merge};

impl ResidualNormDevice for Cuda {
    type Output = Memory;

    fn finish(output: Memory, rule: &OutputRule<Cuda>) -> Matrix {
        let frames = rule.shape.frames;
        let width = rule.shape.out;
        let y = zeros((frames, width));
        kernels::biased(
            rule.precision,
            Pack::of(width),
            for_each(frames * width, width),
            output.at(),
            address(&rule.bias),
            address(&y),
            frames * width,
            width,
        );
        y
    }

    fn residual_norm<T: Track<Cuda>>(
        x: Hidden<T, Cuda>,
        sub_layer: SubLayer<Cuda>,
        branch_tape: T,
        drop: Dropout,
        gamma_beta: [&Param; 2],
        eps: f32,
        precision: Precision,
    ) -> Hidden<T, Cuda> {
        let (x, tape) = x.split();
        let rule = sub_layer.rule;
        let frames = rule.shape.frames;
        let width = rule.shape.out;
        let sum = gpu().memory(Precision::F32, frames * width);
        let added = Added {
            r: sub_layer.output.at(),
            bias: address(&rule.bias),
            sum: sum.at(),
            mask: Mask::from(drop),
        };
        let shape = [frames, width, width];
        let source = (rule.precision, address(&x.values), added);
        let (y, norm) = Norm::written(precision, shape, |to| {
            Norm::of(shape, source, gamma_beta, eps, to)
        });
        let slot = Slot::of(&x.values);
        let tape = merge(tape, branch_tape);
        record_hidden(y, sub_layer.spans, tape, move |dy, g| {
            let dr = gpu().memory(rule.precision, frames * width);
            let dx = g.at(&slot);
            norm.pull(dy, 0, dx, dr.at(), g);
            std::mem::drop((norm, sum));
            rule.backward(&Operand::owned(dr), g);
        })
    }
}
