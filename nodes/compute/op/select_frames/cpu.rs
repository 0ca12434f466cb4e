//! [`SelectFramesDevice`] by copies of frames.
use super::SelectFramesDevice;
use crate::tensor::cpu::{Cpu, Matrix, read, tensor};
use crate::tensor::dimensions;

impl SelectFramesDevice for Cpu {
    type Chosen = Vec<usize>;

    fn chosen(frames: Vec<usize>) -> Vec<usize> {
        frames
    }

    fn forward(x: &Matrix, chosen: &Vec<usize>, count: usize) -> Matrix {
        let width = dimensions(x).1;
        let numbers = read(x);
        let mut y = Vec::with_capacity(count * width);
        for frame in chosen {
            y.extend_from_slice(&numbers[frame * width..][..width]);
        }
        tensor(y, (count, width))
    }

    fn backward(dy: Vec<f32>, chosen: &Vec<usize>, (_, width): (usize, usize), dx: &mut Vec<f32>) {
        for (frame, dy) in chosen.iter().zip(dy.chunks_exact(width)) {
            let dx = &mut dx[frame * width..][..width];
            dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy);
        }
    }
}
