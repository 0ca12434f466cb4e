//! [`MaskFramesDevice`] by loops over the masked frames.
use super::MaskFramesDevice;
use crate::parallel::{add, column_sums, copy};
use crate::tensor::cpu::{Cpu, Grads, Matrix, Param, Slot, read, tensor};
use crate::tensor::dimensions;

impl MaskFramesDevice for Cpu {
    type Flags = Vec<bool>;

    fn flags(masked: Vec<bool>) -> Vec<bool> {
        masked
    }

    fn forward(x: &Matrix, masked: &Vec<bool>, e: &Param) -> Matrix {
        let mut y = copy(read(x));
        for frame in masked_frames(&mut y, dimensions(x).1, masked) {
            frame.copy_from_slice(read(e));
        }
        tensor(y, dimensions(x))
    }

    fn backward(
        mut dy: Vec<f32>,
        masked: &Vec<bool>,
        (_, width): (usize, usize),
        x: &Slot,
        e: &Param,
        g: &mut Grads,
    ) {
        let mut masked_dy = vec![];
        for frame in masked_frames(&mut dy, width, masked) {
            masked_dy.extend_from_slice(frame);
            frame.fill(0.0);
        }
        add(g.of(e), &column_sums(&masked_dy, width));
        add(g.at(x), &dy);
    }
}

/// Iterates over the frames whose flag is set.
fn masked_frames<'a>(
    x: &'a mut [f32],
    width: usize,
    masked: &'a [bool],
) -> impl Iterator<Item = &'a mut [f32]> {
    let flagged = x.chunks_exact_mut(width).zip(masked);
    flagged
        .filter(|(_, masked)| **masked)
        .map(|(frame, _)| frame)
}
