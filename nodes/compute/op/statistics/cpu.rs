//! [`StatisticsDevice`] by parallel loops: over rows, backward over frames.
use super::StatisticsDevice;
use crate::parallel::{for_each_chunk, for_each_uneven_chunk};
use crate::tensor::cpu::{Cpu, Matrix, read, tensor};
use crate::tensor::{Spans, dimensions};

impl StatisticsDevice for Cpu {
    fn forward(x: &Matrix, rows: &Spans) -> Matrix {
        let width = dimensions(x).1;
        let x = read(x);
        let mut y = vec![0.0; rows.rows() * 2 * width];
        for_each_chunk(&mut y, 2 * width, |row, y| {
            let frames = rows.of(row);
            let count = frames.len() as f32;
            let frames = x[frames.start * width..frames.end * width].chunks_exact(width);
            let (mean, deviation) = y.split_at_mut(width);
            for frame in frames.clone() {
                mean.iter_mut().zip(frame).for_each(|(m, x)| *m += x);
            }
            mean.iter_mut().for_each(|m| *m /= count.max(1.0));
            for frame in frames {
                let numbers = deviation.iter_mut().zip(frame).zip(&*mean);
                numbers.for_each(|((s, x), m)| *s += (x - m) * (x - m));
            }
            let degrees = (count - 1.0).max(1.0);
            deviation
                .iter_mut()
                .for_each(|s| *s = (*s / degrees).sqrt());
        });
        tensor(y, (rows.rows(), 2 * width))
    }

    fn backward(dy: Vec<f32>, x: &Matrix, y: &Matrix, rows: &Spans, dx: &mut Vec<f32>) {
        let width = dimensions(x).1;
        let x = read(x);
        let y = read(y);
        let sizes = rows.lengths().map(|frames| frames * width);
        for_each_uneven_chunk(dx, sizes, |row, dx| {
            let frames = rows.of(row);
            let count = frames.len() as f32;
            let degrees = (count - 1.0).max(1.0);
            let (mean, deviation) = y[row * 2 * width..][..2 * width].split_at(width);
            let (dm, ds) = dy[row * 2 * width..][..2 * width].split_at(width);
            let x = &x[frames.start * width..frames.end * width];
            for (x, dx) in x.chunks_exact(width).zip(dx.chunks_exact_mut(width)) {
                for c in 0..width {
                    dx[c] += dm[c] / count;
                    if deviation[c] > 0.0 {
                        dx[c] += ds[c] * (x[c] - mean[c]) / (degrees * deviation[c]);
                    }
                }
            }
        });
    }
}
