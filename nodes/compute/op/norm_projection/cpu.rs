//! [`NormProjectionDevice`] by the loops of the layer norm and by GEMMs.
use super::{NormProjectionDevice, Normalised};
use crate::gemm::{Epilogue, Out, Precision, Shape, View, gemm, product};
use crate::op::layer_norm::cpu as layer_norm;
use crate::op::passes::Affine;
use crate::op::passes::cpu::{Operand, affine, weight_gradient};
use crate::parallel::add;
use crate::tensor::cpu::{Cpu, Grads, Matrix, Param, read, tensor};

impl NormProjectionDevice for Cpu {
    fn normalise(
        x: &Matrix,
        [gamma, beta]: [&Param; 2],
        eps: f32,
        norm_width: usize,
        _: Precision,
    ) -> Normalised<Cpu> {
        let gamma_beta = [read(gamma), read(beta)];
        let (h, stats) = layer_norm::forward(read(x), gamma_beta, eps, norm_width);
        let p = stats.chunks_exact(2).map(|s| -s[0] * s[1]).collect();
        Normalised {
            h: Operand::Owned(h),
            p: Operand::Owned(p),
            saved: stats,
        }
    }

    fn project(
        precision: Precision,
        normalised: &Normalised<Cpu>,
        w: &Operand,
        b: &Param,
        folded: &Param,
        s: Affine,
    ) -> Matrix {
        let shape = Shape {
            m: s.frames,
            n: s.out,
            k: s.width,
        };
        let mut y = affine(precision, normalised.h.read(), w.read(), read(b), shape);
        gemm(
            Precision::F32,
            Shape { k: 1, ..shape },
            normalised.p.rows(1),
            View::rows(read(folded), s.out),
            Out::accumulate(&mut y, s.out),
        );
        tensor(y, (s.frames, s.out))
    }

    fn add_folded_gradient(p: &Operand, dy: &Operand, s: Affine, dfolded: &mut Vec<f32>) {
        let shape = Shape {
            m: 1,
            n: s.out,
            k: s.frames,
        };
        let to = Out::accumulate(dfolded, s.out);
        weight_gradient(Precision::F32, p.read(), dy.read(), to, shape);
    }

    fn share_gradient(dy: &Operand, folded: &Param, s: Affine) -> Operand {
        let column = View::rows(read(folded), 1);
        multiply(Precision::F32, dy, column, [s.frames, 1, s.out])
    }

    fn input_gradient(precision: Precision, dy: &Operand, w: &Operand, s: Affine) -> Operand {
        let shape = [s.frames, s.width, s.out];
        multiply(precision, dy, w.rows(s.width), shape)
    }

    fn add_norm_gradient(
        [dh, dp]: [Operand; 2],
        x: &Matrix,
        [gamma, beta]: [&Param; 2],
        norm_width: usize,
        stats: &Vec<f32>,
        g: &mut Grads,
    ) {
        let scale = read(gamma);
        let dx = g.of(x);
        let dp = Some(dp.read());
        let sums = layer_norm::backward(dh.read(), read(x), stats, scale, norm_width, dp, dx);
        add(g.of(gamma), &sums[..scale.len()]);
        add(g.of(beta), &sums[scale.len()..]);
    }
}

/// Returns dy w, for w (k, n).
fn multiply(precision: Precision, dy: &Operand, w: View, [m, n, k]: [usize; 3]) -> Operand {
    let shape = Shape { m, n, k };
    Operand::Owned(product(precision, shape, dy.rows(k), w, Epilogue::None))
}
