//! [`DistanceDevice`] by parallel loops over frames.
use super::{Distance, DistanceDevice};
use crate::math::sum;
use crate::parallel::{for_each_chunk, map};
use crate::tensor::cpu::{Cpu, Matrix, Number, read, tensor};
use crate::tensor::dimensions;

const LEAST_NORM: f32 = 1e-8;

impl DistanceDevice for Cpu {
    fn forward(distance: Distance, o: &Matrix, t: &Matrix) -> Number {
        let unit = 1.0 / dimensions(o).1 as f32;
        match distance {
            Distance::L1 => mean(o, t, |o, t| unit * sum(o.len(), |i| (o[i] - t[i]).abs())),
            Distance::Mse => mean(o, t, |o, t| {
                unit * sum(o.len(), |i| (o[i] - t[i]) * (o[i] - t[i]))
            }),
            Distance::Cosine => mean(o, t, |o, t| -Cosine::of(o, t).cos),
            Distance::LogSigmoidCosine => mean(o, t, |o, t| (-Cosine::of(o, t).cos).exp().ln_1p()),
        }
    }

    fn backward(distance: Distance, dy: Vec<f32>, o: &Matrix, t: &Matrix, d: &mut Vec<f32>) {
        let (frames, width) = dimensions(o);
        let unit = 1.0 / width as f32;
        let scale = dy[0] / frames.max(1) as f32;
        match distance {
            Distance::L1 => for_frames(o, t, d, |o, t, d| {
                for ((d, o), t) in d.iter_mut().zip(o).zip(t) {
                    *d += scale * unit * ((o > t) as u8 as f32 - (o < t) as u8 as f32);
                }
            }),
            Distance::Mse => for_frames(o, t, d, |o, t, d| {
                for ((d, o), t) in d.iter_mut().zip(o).zip(t) {
                    *d += scale * unit * 2.0 * (o - t);
                }
            }),
            Distance::Cosine => for_frames(o, t, d, |o, t, d| {
                Cosine::of(o, t).add_gradient(o, t, -scale, d);
            }),
            Distance::LogSigmoidCosine => for_frames(o, t, d, |o, t, d| {
                let cosine = Cosine::of(o, t);
                cosine.add_gradient(o, t, -scale / (1.0 + cosine.cos.exp()), d);
            }),
        }
    }
}

/// Returns the mean of `distance(o, t)` over frames, summed in f64.
fn mean(o: &Matrix, t: &Matrix, distance: impl Fn(&[f32], &[f32]) -> f32 + Sync + Send) -> Number {
    let (frames, width) = dimensions(o);
    let o = read(o);
    let t = read(t);
    let distances = map(frames, |i| {
        let frame = i * width..(i + 1) * width;
        distance(&o[frame.clone()], &t[frame])
    });
    let total: f64 = distances.into_iter().map(f64::from).sum();
    tensor(vec![(total / frames.max(1) as f64) as f32], ())
}

/// Calls `add_gradient(o, t, d)` for every frame in parallel.
fn for_frames(
    o: &Matrix,
    t: &Matrix,
    d: &mut [f32],
    add_gradient: impl Fn(&[f32], &[f32], &mut [f32]) + Sync + Send,
) {
    let width = dimensions(o).1;
    let o = read(o);
    let t = read(t);
    for_each_chunk(d, width, |i, d| {
        let frame = i * width..(i + 1) * width;
        add_gradient(&o[frame.clone()], &t[frame], d);
    });
}

/// Returns a·b. Inlined: a function of its own would check every index, number by number.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len().min(b.len());
    let a = &a[..n];
    let b = &b[..n];
    sum(n, |i| a[i] * b[i])
}

/// The cosine of two frames, and the factors of its gradient.
struct Cosine {
    cos: f32,
    /// 1 / (‖o‖ ‖t‖)
    inverse: f32,
    /// cos / ‖o‖², or 0 if ‖o‖ is below the least norm
    along: f32,
}

impl Cosine {
    #[inline(always)]
    fn of(o: &[f32], t: &[f32]) -> Self {
        let o_norm = dot(o, o).sqrt();
        let t_norm = dot(t, t).sqrt();
        let inverse = 1.0 / (o_norm.max(LEAST_NORM) * t_norm.max(LEAST_NORM));
        let cos = dot(o, t) * inverse;
        let along = if o_norm > LEAST_NORM {
            cos / (o_norm * o_norm)
        } else {
            0.0
        };
        Cosine {
            cos,
            inverse,
            along,
        }
    }

    /// Adds scale · dcos to d.
    #[inline(always)]
    fn add_gradient(&self, o: &[f32], t: &[f32], scale: f32, d: &mut [f32]) {
        let along_t = scale * self.inverse;
        let along_o = scale * self.along;
        for ((d, o), t) in d.iter_mut().zip(o).zip(t) {
            *d += along_t * t - along_o * o;
        }
    }
}
