//! [`ResidualNormDevice`] as a residual and a norm: the output of a sub-layer has its bias already.
use super::{Branch, OutputRule, ResidualNormDevice, SubLayer, residual_norm};
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::tensor::Track;
use crate::tensor::cpu::{Cpu, Hidden, Matrix, Param};

impl ResidualNormDevice for Cpu {
    type Output = Matrix;

    fn finish(output: Matrix, _: &OutputRule<Cpu>) -> Matrix {
        output
    }

    fn residual_norm<T: Track<Cpu>>(
        x: Hidden<T>,
        sub_layer: SubLayer<Cpu>,
        tape: T,
        drop: Dropout,
        gamma_beta: [&Param; 2],
        eps: f32,
        precision: Precision,
    ) -> Hidden<T> {
        let r = Branch::Product(Box::new(sub_layer), tape).whole();
        residual_norm(x, Branch::Whole(r), drop, gamma_beta, eps, precision)
    }
}
