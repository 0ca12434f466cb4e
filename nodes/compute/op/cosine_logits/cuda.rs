//! [`CosineLogitsDevice`] by f32 GEMMs and kernels with a warp for each row.
use super::CosineLogitsDevice;
use crate::cuda::elementwise::add;
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::for_rows;
use crate::cuda::kernels;
use crate::cuda::mask::Mask;
use crate::cuda::product::{Out, View, product};
use crate::gemm::Precision::F32;
use crate::tensor::Grads;
use crate::tensor::cuda::{Cuda, Matrix, Param, Shape, Slot, Tensor, address, len, zeros};

/// Rows divided by their norms.
pub struct Units {
    values: Memory,
    norms: Memory,
    rows: usize,
    width: usize,
}

impl CosineLogitsDevice for Cuda {
    type Units = Units;

    fn units<S: Shape>(x: &Tensor<S, f32, Cuda>, width: usize) -> Units {
        let rows = len(x) / width;
        let values = gpu().memory(F32, rows * width);
        let norms = gpu().memory(F32, rows);
        kernels::units(
            for_rows(rows),
            address(x),
            values.at(),
            norms.at(),
            rows,
            width,
        );
        Units {
            values,
            norms,
            rows,
            width,
        }
    }

    fn forward(u: &Units, v: &Units, factor: f32) -> Matrix {
        let n = u.rows * v.rows;
        let cosines = gpu().memory(F32, n);
        let y = zeros((u.rows, v.rows));
        let shape = [u.rows, v.rows, u.width];
        let to = Out::Wide(View::of(&cosines, v.rows));
        product(F32, shape, u.view(), v.view().t(), to);
        add(cosines.at(), address(&y), n, Mask::times(factor));
        y
    }

    fn backward(
        dy: Address,
        u: &Units,
        v: &Units,
        factor: f32,
        z: &Slot,
        e: &Param,
        g: &mut Grads<Cuda>,
    ) {
        let dy = View::rows(dy, v.rows);
        let du = gpu().memory(F32, u.rows * u.width);
        let to = Out::Wide(View::of(&du, u.width));
        product(F32, [u.rows, u.width, v.rows], dy, v.view(), to);
        let dv = gpu().memory(F32, v.rows * v.width);
        let to = Out::Wide(View::of(&dv, v.width));
        product(F32, [v.rows, v.width, u.rows], dy.t(), u.view(), to);
        u.add_gradient(&du, g.at(z), factor);
        v.add_gradient(&dv, g.of(e), factor);
    }
}

impl Units {
    fn view(&self) -> View {
        View::of(&self.values, self.width)
    }

    /// Adds factor (du - (du·u) u) / |x| to dx, row by row.
    fn add_gradient(&self, du: &Memory, dx: Address, factor: f32) {
        kernels::units_backward(
            for_rows(self.rows),
            self.values.at(),
            self.norms.at(),
            du.at(),
            dx,
            self.rows,
            self.width,
            factor,
        );
    }
}
