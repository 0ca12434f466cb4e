//! [`RowMeanDevice`] by a task for each row; sums are f64.
use super::RowMeanDevice;
use crate::parallel::{for_each_uneven_chunk, map};
use crate::tensor::cpu::{Cpu, Matrix, read, tensor};
use crate::tensor::{Spans, dimensions};

impl RowMeanDevice for Cpu {
    fn forward(x: &Matrix, spans: &Spans) -> Matrix {
        let width = dimensions(x).1;
        let x = read(x);
        let means = map(spans.rows(), |r| {
            let row = spans.of(r);
            let mut sums = vec![0.0f64; width];
            for frame in x[row.start * width..row.end * width].chunks_exact(width) {
                for (sum, x) in sums.iter_mut().zip(frame) {
                    *sum += f64::from(*x);
                }
            }
            let mean = |sum: f64| (sum / row.len() as f64) as f32;
            sums.into_iter().map(mean).collect::<Vec<f32>>()
        });
        tensor(means.concat(), (spans.rows(), width))
    }

    fn backward(dy: Vec<f32>, spans: &Spans, width: usize, dx: &mut Vec<f32>) {
        let lengths = spans.lengths().map(|frames| frames * width);
        for_each_uneven_chunk(dx, lengths, |r, dx| {
            let dy = &dy[r * width..(r + 1) * width];
            let share = 1.0 / spans.of(r).len() as f32;
            for frame in dx.chunks_exact_mut(width) {
                for (dx, dy) in frame.iter_mut().zip(dy) {
                    *dx += share * dy;
                }
            }
        });
    }
}
