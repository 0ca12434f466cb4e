//! [`ArgmaxDevice`] by a parallel loop over frames.
use super::ArgmaxDevice;
use crate::math;
use crate::parallel::{map, wide};
use crate::tensor::cpu::{Cpu, Matrix, read};
use crate::tensor::dimensions;

impl ArgmaxDevice for Cpu {
    fn argmax(x: &Matrix) -> Vec<usize> {
        let (frames, width) = dimensions(x);
        let x = read(x);
        map(frames, |t| {
            wide!(math::argmax(&x[t * width..(t + 1) * width]))
        })
    }
}
