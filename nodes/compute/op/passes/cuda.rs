//! [`Passes`] by cuBLAS and by kernels with a lane for each number.
use super::packed::PackedWeights;
use super::{Affine, Passes};
use crate::cuda::elementwise::{add, add_row, add_times};
use crate::cuda::gpu::{Address, Memory, gpu};
use crate::cuda::grid::{for_each, for_rows};
use crate::cuda::kernels::{self, Pack};
use crate::cuda::mask::Mask;
use crate::cuda::product::{Factor, Out, View, product};
use crate::cuda::sums::{add_column_sums, add_narrow_sums, add_sum};
use crate::gemm::Precision;
use crate::math::Dropout;
use crate::tensor::cuda::{Cuda, Matrix, Param, address, len, zeros, zeros_like};
use crate::tensor::dimensions;

/// A factor in the format of its products and, of a gradient, its address in f32.
pub struct Operand {
    factor: Factor,
    wide: Address,
}

impl Operand {
    /// Takes memory in the format of products.
    pub fn owned(memory: Memory) -> Operand {
        Operand {
            factor: memory.into(),
            wide: 0,
        }
    }

    /// Returns the factor as a matrix with rows of `width` numbers.
    pub fn rows(&self, width: usize) -> View {
        self.factor.rows(width)
    }

    /// Returns the address of the factor in the format of products.
    pub fn address(&self) -> Address {
        self.factor.place()
    }

    /// Returns the address in f32 of a gradient that was prepared by [`Passes::gradient`].
    pub fn wide(&self) -> Address {
        self.wide
    }
}

impl Passes for Cuda {
    type Operand = Operand;

    fn operand(precision: Precision, x: &Matrix) -> Operand {
        Operand {
            factor: Factor::of(precision, x),
            wide: 0,
        }
    }
    fn weight(precision: Precision, w: &Param) -> Operand {
        Operand {
            factor: Factor::weight(precision, w),
            wide: 0,
        }
    }
    fn pack(_: &mut PackedWeights, _: Precision, _: [usize; 2], _: &mut Param) {}
    fn gradient(precision: Precision, dy: Address, len: usize) -> Operand {
        Operand {
            factor: Factor::at(precision, dy, len),
            wide: dy,
        }
    }

    fn affine(precision: Precision, x: &Operand, w: &Operand, b: &Param, s: Affine) -> Matrix {
        let y = zeros((s.frames, s.out));
        let to = Out::Wide(View::rows(address(&y), s.out));
        let shape = [s.frames, s.out, s.width];
        product(precision, shape, x.rows(s.width), w.rows(s.width).t(), to);
        add_row(address(&y), address(b), s.frames, s.out);
        y
    }
    fn add_weight_gradient(
        precision: Precision,
        dy: &Operand,
        x: &Operand,
        s: Affine,
        dw: Address,
    ) {
        let shape = [s.out, s.width, s.frames];
        let to = Out::Add(View::rows(dw, s.width));
        product(precision, shape, dy.rows(s.out).t(), x.rows(s.width), to);
    }
    fn add_input_gradient(precision: Precision, dy: &Operand, w: &Operand, s: Affine, dx: Address) {
        let shape = [s.frames, s.width, s.out];
        let to = Out::Add(View::rows(dx, s.width));
        product(precision, shape, dy.rows(s.out), w.rows(s.width), to);
    }
    fn add_bias_gradient(dy: &Operand, s: Affine, db: Address) {
        add_column_sums(dy.wide, db, s.frames, s.out);
    }

    fn repeat(b: &Param, frames: usize) -> Matrix {
        let y = zeros((frames, len(b)));
        add_row(address(&y), address(b), frames, len(b));
        y
    }
    fn dropped(x: &Matrix, drop: Dropout) -> Matrix {
        let y = zeros_like(x);
        add(address(x), address(&y), len(x), Mask::from(drop));
        y
    }
    fn sum_dropped(x: &Matrix, r: &Matrix, drop: Dropout) -> Matrix {
        let n = len(x);
        let y = zeros_like(x);
        let mask = Mask::from(drop);
        kernels::residual(
            Pack::of(n),
            for_each(n, n),
            address(x),
            address(r),
            address(&y),
            n,
            mask,
        );
        y
    }
    fn copied(x: &Matrix) -> Matrix {
        let y = zeros_like(x);
        add(address(x), address(&y), len(x), Mask::times(1.0));
        y
    }
    fn times(x: &Matrix, gate: &Param) -> Matrix {
        let y = zeros_like(x);
        add_times(address(x), address(gate), address(&y), len(x));
        y
    }

    fn add_scaled(dy: &Address, factor: f32, len: usize, dx: Address) {
        add(*dy, dx, len, Mask::times(factor));
    }
    fn add_dropped(dy: Address, drop: Dropout, len: usize, dx: Address) {
        add(dy, dx, len, Mask::from(drop));
    }
    fn add_times(dy: Address, gate: &Param, len: usize, dx: Address) {
        add_times(dy, address(gate), dx, len);
    }
    fn add_dot(x: &Matrix, dy: &Address, to: Address) {
        let (frames, width) = dimensions(x);
        let dots = gpu().memory(Precision::F32, frames);
        kernels::dots(
            Pack::of(width),
            for_rows(frames),
            address(x),
            *dy,
            dots.at(),
            frames,
            width,
        );
        add_sum(&dots, to, frames, 1.0);
    }

    fn add_operand_sums(precision: Precision, dy: &Operand, s: Affine, db: Address) {
        add_narrow_sums(precision, dy.address(), db, s.frames, s.out);
    }
}
