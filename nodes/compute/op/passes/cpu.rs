//! [`Passes`] over slices, by all threads.
use super::packed::{PackedParameter, PackedWeights};
use super::{Affine, Passes};
use crate::gemm::{Epilogue, Out, Precision, Shape, View, gemm, product};
use crate::math::{Dropout, sum};
use crate::parallel::{add, column_sums, copy, for_each_chunk, map, wide, zip};
use crate::tensor::cpu::{Cpu, Matrix, Param, read, tensor};
use crate::tensor::dimensions;
use std::sync::Arc;

/// Numbers of an elementwise pass that one task takes, and whose dot product is summed at once.
const CHUNK: usize = 1 << 14;

/// A factor: products of any precision read f32 where it lies.
pub enum Operand {
    Matrix(Matrix),
    Param(Param),
    Owned(Vec<f32>),
    Packed(Arc<PackedParameter>),
}

impl Operand {
    /// Returns all numbers of the factor.
    ///
    /// # Panics
    /// If it is a packed weight.
    pub fn read(&self) -> &[f32] {
        match self {
            Operand::Matrix(x) => read(x),
            Operand::Param(w) => read(w),
            Operand::Owned(dy) => dy,
            Operand::Packed(_) => panic!("a packed weight is read in that form alone"),
        }
    }

    /// Returns the factor as a matrix with rows of `width` numbers.
    pub fn rows(&self, width: usize) -> View<'_> {
        View::rows(self.read(), width)
    }
}

impl Passes for Cpu {
    type Operand = Operand;

    fn operand(_: Precision, x: &Matrix) -> Operand {
        Operand::Matrix(x.clone())
    }
    fn weight(_: Precision, w: &Param) -> Operand {
        match PackedParameter::find(w) {
            Some(packed) => Operand::Packed(packed),
            None => Operand::Param(w.clone()),
        }
    }
    fn pack(kept: &mut PackedWeights, precision: Precision, shape: [usize; 2], w: &mut Param) {
        kept.pack_on_cpu(precision, shape, w);
    }
    fn gradient(_: Precision, dy: Vec<f32>, _: usize) -> Operand {
        Operand::Owned(dy)
    }

    fn affine(precision: Precision, x: &Operand, w: &Operand, b: &Param, s: Affine) -> Matrix {
        let shape = Shape {
            m: s.frames,
            n: s.out,
            k: s.width,
        };
        let then = Epilogue::Bias(read(b));
        let y = times_weight(precision, x.rows(s.width), w, shape, then);
        tensor(y, (s.frames, s.out))
    }
    fn add_weight_gradient(
        precision: Precision,
        dy: &Operand,
        x: &Operand,
        s: Affine,
        dw: &mut Vec<f32>,
    ) {
        let shape = Shape {
            m: s.out,
            n: s.width,
            k: s.frames,
        };
        weight_gradient(
            precision,
            dy.read(),
            x.read(),
            Out::accumulate(dw, s.width),
            shape,
        );
    }
    fn add_input_gradient(
        precision: Precision,
        dy: &Operand,
        w: &Operand,
        s: Affine,
        dx: &mut Vec<f32>,
    ) {
        let shape = Shape {
            m: s.frames,
            n: s.width,
            k: s.out,
        };
        gemm(
            precision,
            shape,
            dy.rows(s.out),
            w.rows(s.width),
            Out::accumulate(dx, s.width),
        );
    }
    fn add_bias_gradient(dy: &Operand, s: Affine, db: &mut Vec<f32>) {
        add(db, &column_sums(dy.read(), s.out));
    }

    fn repeat(b: &Param, frames: usize) -> Matrix {
        let b = read(b);
        tensor(b.repeat(frames), (frames, b.len()))
    }
    fn dropped(x: &Matrix, drop: Dropout) -> Matrix {
        let mut y = copy(read(x));
        apply(drop, &mut y);
        tensor(y, dimensions(x))
    }
    fn sum_dropped(x: &Matrix, r: &Matrix, drop: Dropout) -> Matrix {
        let mut y = copy(read(r));
        apply(drop, &mut y);
        add(&mut y, read(x));
        tensor(y, dimensions(x))
    }
    fn copied(x: &Matrix) -> Matrix {
        tensor(copy(read(x)), dimensions(x))
    }
    fn times(x: &Matrix, gate: &Param) -> Matrix {
        let mut y = copy(read(x));
        multiply(&mut y, read(gate)[0]);
        tensor(y, dimensions(x))
    }

    fn add_scaled(dy: &Vec<f32>, factor: f32, _: usize, dx: &mut Vec<f32>) {
        zip(dx, dy, |dx, dy| *dx += factor * dy);
    }
    fn add_dropped(mut dy: Vec<f32>, drop: Dropout, _: usize, dx: &mut Vec<f32>) {
        apply(drop, &mut dy);
        add(dx, &dy);
    }
    fn add_times(mut dy: Vec<f32>, gate: &Param, _: usize, dx: &mut Vec<f32>) {
        multiply(&mut dy, read(gate)[0]);
        add(dx, &dy);
    }
    fn add_dot(x: &Matrix, dy: &Vec<f32>, to: &mut Vec<f32>) {
        let x = read(x);
        let sums = map(dy.len().div_ceil(CHUNK), |c| {
            let range = c * CHUNK..dy.len().min((c + 1) * CHUNK);
            let (x, dy) = (&x[range.clone()], &dy[range]);
            wide!(sum(dy.len(), |i| x[i] * dy[i])) as f64
        });
        to[0] += sums.iter().sum::<f64>() as f32;
    }

    fn add_operand_sums(_: Precision, dy: &Operand, shape: Affine, db: &mut Vec<f32>) {
        Self::add_bias_gradient(dy, shape, db);
    }
}

/// Returns x wᵀ, (frames, out), with `then` applied to each tile: the depth of `shape` is the width
/// of x.
pub(crate) fn times_weight(
    precision: Precision,
    x: View,
    w: &Operand,
    shape: Shape,
    then: Epilogue,
) -> Vec<f32> {
    match w {
        Operand::Packed(packed) => {
            let weight = packed.weight();
            weight.check(precision, shape.n, shape.k);
            weight.product(shape.m, x, then)
        }
        _ => product(precision, shape, x, w.rows(shape.k).t(), then),
    }
}

/// Returns x wᵀ + b, (frames, out): the depth of `shape` is the width of x.
pub(crate) fn affine(
    precision: Precision,
    x: &[f32],
    w: &[f32],
    b: &[f32],
    shape: Shape,
) -> Vec<f32> {
    let weight = View::rows(w, shape.k).t();
    product(
        precision,
        shape,
        View::rows(x, shape.k),
        weight,
        Epilogue::Bias(b),
    )
}

/// Adds dyᵀ x, (out, width), or sets it: summed over frames, the depth of `shape`.
pub(crate) fn weight_gradient(precision: Precision, dy: &[f32], x: &[f32], to: Out, shape: Shape) {
    gemm(
        precision,
        shape,
        View::rows(dy, shape.m).t(),
        View::rows(x, shape.n),
        to,
    );
}

fn apply(drop: Dropout, x: &mut [f32]) {
    if drop.rate > 0.0 {
        for_each_chunk(x, CHUNK, |c, x| wide!(drop.apply(c * CHUNK, x)));
    }
}

fn multiply(x: &mut [f32], factor: f32) {
    for_each_chunk(x, CHUNK, |_, x| {
        wide!(x.iter_mut().for_each(|x| *x *= factor))
    });
}
