//! [`LayerMixDevice`] by parallel loops over chunks.
use super::{LayerMixDevice, softmax};
use crate::math::sum;
use crate::parallel::{for_each_chunk, map, wide};
use crate::tensor::cpu::{Cpu, Matrix, Param, read, tensor};
use crate::tensor::dimensions;

/// Numbers of a layer that one task takes.
const CHUNK: usize = 1 << 12;

impl LayerMixDevice for Cpu {
    fn forward(layers: &[Matrix], w: &Param) -> (Matrix, Vec<f32>) {
        let p = softmax(read(w));
        let layers_read: Vec<&[f32]> = layers.iter().map(read).collect();
        let mut y = vec![0.0; layers_read[0].len()];
        for_each_chunk(&mut y, CHUNK, |c, y| {
            for (layer, share) in layers_read.iter().zip(&p) {
                let x = &layer[c * CHUNK..][..y.len()];
                wide!(y.iter_mut().zip(x).for_each(|(y, x)| *y += share * x));
            }
        });
        (tensor(y, dimensions(&layers[0])), p)
    }

    fn backward(dy: Vec<f32>, layers: &[Matrix], p: &[f32], dw: &mut Vec<f32>) {
        let layers: Vec<&[f32]> = layers.iter().map(read).collect();
        let chunks = map(dy.len().div_ceil(CHUNK), |c| {
            let range = c * CHUNK..dy.len().min((c + 1) * CHUNK);
            let dy = &dy[range.clone()];
            let dot = |layer: &&[f32]| {
                let x = &layer[range.clone()];
                wide!(sum(dy.len(), |i| x[i] * dy[i])) as f64
            };
            layers.iter().map(dot).collect::<Vec<f64>>()
        });
        let mut dots = vec![0.0; layers.len()];
        for chunk in chunks {
            for (dot, part) in dots.iter_mut().zip(chunk) {
                *dot += part;
            }
        }
        let mean: f64 = dots.iter().zip(p).map(|(dot, p)| dot * f64::from(*p)).sum();
        for ((dw, dot), p) in dw.iter_mut().zip(dots).zip(p) {
            *dw += (f64::from(*p) * (dot - mean)) as f32;
        }
    }
}
