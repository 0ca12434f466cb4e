//! [`MeanSquareDevice`] by parallel loops over chunks.
use super::MeanSquareDevice;
use crate::math::sum;
use crate::parallel::{for_each_chunk, map, wide};
use crate::tensor::cpu::{Cpu, Matrix, Number, read, tensor};

/// Numbers whose squares are summed in f32; the sums of chunks are added in f64.
const CHUNK: usize = 1 << 12;

impl MeanSquareDevice for Cpu {
    fn forward(x: &Matrix) -> Number {
        let x = read(x);
        let chunks: Vec<&[f32]> = x.chunks(CHUNK).collect();
        let sums = map(chunks.len(), |c| {
            wide!(sum(chunks[c].len(), |i| chunks[c][i] * chunks[c][i])) as f64
        });
        let y = (sums.into_iter().sum::<f64>() * unit(x)) as f32;
        tensor(vec![y], ())
    }

    fn backward(dy: Vec<f32>, x: &Matrix, dx: &mut Vec<f32>) {
        let x = read(x);
        let scale = 2.0 * dy[0] * unit(x) as f32;
        for_each_chunk(dx, CHUNK, |c, dx| {
            wide!(
                dx.iter_mut()
                    .zip(&x[c * CHUNK..])
                    .for_each(|(dx, x)| *dx += scale * x)
            );
        });
    }
}

/// Returns the weight of one square in the mean.
fn unit(x: &[f32]) -> f64 {
    1.0 / x.len().max(1) as f64
}
