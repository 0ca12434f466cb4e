//! [`NormProjectionDevice`] by the kernels of the layer norm and by cuBLAS.
use super::{NormProjectionDevice, Normalised};
use crate::cuda::elementwise::add_row;
use crate::cuda::gpu::{Address, gpu};
use crate::cuda::grid::for_each;
use crate::cuda::kernels::{self, Added};
use crate::cuda::product::{Out, View, product};
use crate::gemm::Precision;
use crate::op::layer_norm::cuda::Norm;
use crate::op::passes::Affine;
use crate::op::passes::cuda::Operand;
use crate::tensor::cuda::{Cuda, Matrix, Param, address, zeros};
use crate::tensor::{Grads, dimensions};

impl NormProjectionDevice for Cuda {
    fn normalise(
        x: &Matrix,
        gamma_beta: [&Param; 2],
        eps: f32,
        norm_width: usize,
        precision: Precision,
    ) -> Normalised<Cuda> {
        let (frames, width) = dimensions(x);
        let h = gpu().memory(precision, frames * width);
        let to = match precision {
            Precision::Bf16 => [0, h.at()],
            _ => [h.at(), 0],
        };
        let norm = Norm::of(
            [frames, width, norm_width],
            (precision, address(x), Added::NOTHING),
            gamma_beta,
            eps,
            to,
        );
        let p = gpu().memory(Precision::F32, frames);
        kernels::shares_of_mean(for_each(frames, 1), norm.stats.at(), p.at(), frames);
        Normalised {
            h: Operand::owned(h),
            p: Operand::owned(p),
            saved: norm,
        }
    }

    fn project(
        precision: Precision,
        normalised: &Normalised<Cuda>,
        w: &Operand,
        b: &Param,
        folded: &Param,
        s: Affine,
    ) -> Matrix {
        let y = zeros((s.frames, s.out));
        let to = View::rows(address(&y), s.out);
        product(
            precision,
            [s.frames, s.out, s.width],
            normalised.h.rows(s.width),
            w.rows(s.width).t(),
            Out::Wide(to),
        );
        product(
            Precision::F32,
            [s.frames, s.out, 1],
            normalised.p.rows(1),
            View::rows(address(folded), s.out),
            Out::Add(to),
        );
        add_row(address(&y), address(b), s.frames, s.out);
        y
    }

    fn add_folded_gradient(p: &Operand, dy: &Operand, s: Affine, dfolded: Address) {
        product(
            Precision::F32,
            [1, s.out, s.frames],
            p.rows(1).t(),
            View::rows(dy.wide(), s.out),
            Out::Add(View::rows(dfolded, s.out)),
        );
    }

    fn share_gradient(dy: &Operand, folded: &Param, s: Affine) -> Operand {
        let rows = View::rows(dy.wide(), s.out);
        let column = View::rows(address(folded), 1);
        multiply(Precision::F32, rows, column, [s.frames, 1, s.out])
    }

    fn input_gradient(precision: Precision, dy: &Operand, w: &Operand, s: Affine) -> Operand {
        let shape = [s.frames, s.width, s.out];
        multiply(precision, dy.rows(s.out), w.rows(s.width), shape)
    }

    fn add_norm_gradient(
        [dh, dp]: [Operand; 2],
        x: &Matrix,
        _: [&Param; 2],
        _: usize,
        norm: &Norm,
        g: &mut Grads<Cuda>,
    ) {
        let dx = g.of(x);
        norm.pull(dh.address(), dp.address(), dx, 0, g);
    }
}

/// Returns dy w in f32, for w (k, n).
fn multiply(precision: Precision, dy: View, w: View, [m, n, k]: [usize; 3]) -> Operand {
    let to = gpu().memory(Precision::F32, m * n);
    product(precision, [m, n, k], dy, w, Out::Wide(View::of(&to, n)));
    Operand::owned(to)
}
