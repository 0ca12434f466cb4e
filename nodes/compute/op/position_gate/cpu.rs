//! [`PositionGateDevice`] by parallel loops over frames.
use super::PositionGateDevice;
use crate::math::sum;
use crate::parallel::{
    FRAMES_PER_TASK, add, column_sums, for_each_chunk, for_each_chunk_pair, wide,
};
use crate::tensor::cpu::{Cpu, Grads, Matrix, Param, read, tensor};
use crate::tensor::dimensions;

pub struct Saved {
    /// Of all heads, those with a gate.
    heads: Vec<usize>,
    /// The sums of four rows of w, (2, d).
    maps: Vec<f32>,
    /// c of each gate.
    factors: Vec<f32>,
    /// a and b, (frames, heads, 2).
    ab: Vec<f32>,
}

impl PositionGateDevice for Cpu {
    type Saved = Saved;

    fn forward(x: &Matrix, [w, b, c]: [&Param; 3], heads: &[usize]) -> (Matrix, Saved) {
        let (frames, width) = dimensions(x);
        let x = read(x);
        let d = read(w).len() / 8;
        let maps: Vec<f32> = read(w)
            .chunks_exact(4 * d)
            .flat_map(|rows| column_sums(rows, d))
            .collect();
        let offsets: Vec<f32> = read(b)
            .chunks_exact(4)
            .map(|four| four.iter().sum())
            .collect();
        let mut ab = vec![0.0; frames * heads.len() * 2];
        for_each_chunk(&mut ab, heads.len() * 2, |frame, ab| {
            wide!(for (i, ab) in ab.iter_mut().enumerate() {
                let x = &x[frame * width + heads[i / 2] * d..][..d];
                let map = &maps[i % 2 * d..][..d];
                *ab = sigmoid(sum(d, |i| x[i] * map[i]) + offsets[i % 2]);
            })
        });
        let factors: Vec<f32> = heads.iter().map(|&h| read(c)[h]).collect();
        let gates = ab
            .chunks_exact(2)
            .zip(factors.iter().cycle())
            .map(|(ab, c)| ab[0] * (ab[1] * c - 1.0) + 2.0)
            .collect();
        let saved = Saved {
            heads: heads.to_vec(),
            maps,
            factors,
            ab,
        };
        (tensor(gates, (frames, heads.len())), saved)
    }

    fn backward(dy: Vec<f32>, x: &Matrix, [w, b, c]: [&Param; 3], saved: &Saved, g: &mut Grads) {
        let Saved {
            heads,
            maps,
            factors,
            ab,
        } = saved;
        let (frames, width) = dimensions(x);
        let d = read(w).len() / 8;
        // For each part of FRAMES_PER_TASK frames: (2, d) of maps, (2) of offsets, (all heads) of c.
        let size = 2 * d + 2 + width / d;
        let mut sums = vec![0.0; frames.div_ceil(FRAMES_PER_TASK) * size];
        let xs = read(x);
        for_each_chunk_pair(
            (g.of(x), FRAMES_PER_TASK * width),
            (&mut sums, size),
            |part, dx, sums| {
                let (dmaps, rest) = sums.split_at_mut(2 * d);
                let (doffsets, dc) = rest.split_at_mut(2);
                wide!(for (frame, dx) in dx.chunks_exact_mut(width).enumerate() {
                    for (i, &h) in heads.iter().enumerate() {
                        let at = (part * FRAMES_PER_TASK + frame) * heads.len() + i;
                        let dy = dy[at];
                        let a = ab[2 * at];
                        let b = ab[2 * at + 1];
                        dc[h] += dy * a * b;
                        let du = [
                            dy * (b * factors[i] - 1.0) * a * (1.0 - a),
                            dy * a * factors[i] * b * (1.0 - b),
                        ];
                        let x = &xs[(part * FRAMES_PER_TASK + frame) * width + h * d..][..d];
                        let dx = &mut dx[h * d..][..d];
                        for (j, du) in du.into_iter().enumerate() {
                            doffsets[j] += du;
                            dmaps[j * d..][..d]
                                .iter_mut()
                                .zip(x)
                                .for_each(|(dmap, x)| *dmap += du * x);
                            dx.iter_mut()
                                .zip(&maps[j * d..])
                                .for_each(|(dx, map)| *dx += du * map);
                        }
                    }
                })
            },
        );
        let sums = column_sums(&sums, size);
        let (dmaps, rest) = sums.split_at(2 * d);
        for (row, dw) in g.of(w).chunks_exact_mut(d).enumerate() {
            add(dw, &dmaps[row / 4 * d..][..d]);
        }
        for (row, db) in g.of(b).iter_mut().enumerate() {
            *db += rest[row / 4];
        }
        add(g.of(c), &rest[2..]);
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
