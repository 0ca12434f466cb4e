//! [`CosineLogitsDevice`] by f32 GEMMs and parallel loops over rows.
use super::CosineLogitsDevice;
use crate::gemm::{Epilogue, Precision, Shape, View, product};
use crate::math::sum;
use crate::parallel::{for_each_chunk, map, wide};
use crate::tensor::cpu::{self, Cpu, Grads, Matrix, Param, Slot, Tensor, read, tensor};

const LEAST_NORM: f32 = 1e-8;

/// Rows divided by their norms.
pub struct Units {
    values: Vec<f32>,
    norms: Vec<f32>,
    width: usize,
}

impl CosineLogitsDevice for Cpu {
    type Units = Units;

    fn units<S: cpu::Shape>(x: &Tensor<S, f32, Cpu>, width: usize) -> Units {
        Units::of(read(x), width)
    }

    fn forward(u: &Units, v: &Units, factor: f32) -> Matrix {
        let shape = Shape {
            m: u.norms.len(),
            n: v.norms.len(),
            k: u.width,
        };
        let mut y = product(
            Precision::F32,
            shape,
            u.rows(),
            v.rows().t(),
            Epilogue::None,
        );
        scale(&mut y, factor);
        tensor(y, (shape.m, shape.n))
    }

    fn backward(
        mut dy: Vec<f32>,
        u: &Units,
        v: &Units,
        factor: f32,
        z: &Slot,
        e: &Param,
        g: &mut Grads,
    ) {
        scale(&mut dy, factor);
        let frames = u.norms.len();
        let classes = v.norms.len();
        let dy = View::rows(&dy, classes);
        let shape = Shape {
            m: frames,
            n: u.width,
            k: classes,
        };
        let du = product(Precision::F32, shape, dy, v.rows(), Epilogue::None);
        u.add_gradient(&du, g.at(z));
        let shape = Shape {
            m: classes,
            n: v.width,
            k: frames,
        };
        let dv = product(Precision::F32, shape, dy.t(), u.rows(), Epilogue::None);
        v.add_gradient(&dv, g.of(e));
    }
}

fn scale(x: &mut [f32], by: f32) {
    for_each_chunk(x, 1 << 14, |_, x| {
        wide!(x.iter_mut().for_each(|x| *x *= by))
    });
}

impl Units {
    fn of(x: &[f32], width: usize) -> Units {
        let row = |t: usize| &x[t * width..(t + 1) * width];
        let norms = map(x.len() / width, |t| {
            wide!(sum(width, |i| row(t)[i] * row(t)[i]))
                .sqrt()
                .max(LEAST_NORM)
        });
        let mut values = x.to_vec();
        for_each_chunk(&mut values, width, |t, u| {
            u.iter_mut().for_each(|u| *u /= norms[t])
        });
        Units {
            values,
            norms,
            width,
        }
    }

    fn rows(&self) -> View<'_> {
        View::rows(&self.values, self.width)
    }

    /// Adds (du - (du·u) u) / |x| to dx, row by row.
    fn add_gradient(&self, du: &[f32], dx: &mut [f32]) {
        let width = self.width;
        for_each_chunk(dx, width, |t, dx| {
            let row = t * width..(t + 1) * width;
            let u = &self.values[row.clone()];
            let du = &du[row];
            let scale = 1.0 / self.norms[t];
            wide!({
                let along = sum(width, |i| du[i] * u[i]);
                dx.iter_mut()
                    .zip(du)
                    .zip(u)
                    .for_each(|((d, du), u)| *d += scale * (du - along * u));
            });
        });
    }
}
