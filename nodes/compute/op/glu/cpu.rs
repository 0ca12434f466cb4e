//! [`GluDevice`] by parallel loops over frames.
use super::GluDevice;
use crate::math::sigmoid;
use crate::parallel::{for_each_chunk, wide};
use crate::tensor::cpu::{Cpu, Matrix, read, tensor};
use crate::tensor::dimensions;

impl GluDevice for Cpu {
    fn forward(x: &Matrix) -> Matrix {
        let (frames, both) = dimensions(x);
        let width = both / 2;
        let xs = read(x);
        let mut y = vec![0.0; frames * width];
        for_each_chunk(&mut y, width, |frame, y| {
            let (a, b) = xs[frame * both..][..both].split_at(width);
            wide!(for i in 0..width {
                y[i] = a[i] * sigmoid(b[i]);
            });
        });
        tensor(y, (frames, width))
    }

    fn backward(dy: Vec<f32>, x: &Matrix, dx: &mut Vec<f32>) {
        let both = dimensions(x).1;
        let width = both / 2;
        let xs = read(x);
        for_each_chunk(dx, both, |frame, dx| {
            let (a, b) = xs[frame * both..][..both].split_at(width);
            let (da, db) = dx.split_at_mut(width);
            let dy = &dy[frame * width..][..width];
            wide!(for i in 0..width {
                let gate = sigmoid(b[i]);
                da[i] += dy[i] * gate;
                db[i] += dy[i] * a[i] * gate * (1.0 - gate);
            });
        });
    }
}
