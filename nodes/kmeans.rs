//! k-means: centroids c of frames x that make Σ_x min_c |x - c|² small (Lloyd 1982; mini-batches:
//! Sculley 2010).
//!
//! The nearest centroid is the one of the largest x·c - |c|²/2, so the scores of a tile of frames
//! are one matrix product.
mod file;
mod fit;
pub mod residual;
mod start;

use compute::gemm::{Epilogue, Out, Precision, Shape, View, gemm_with_epilogue};
use compute::math::{argmax, sum};
use compute::parallel::{for_each_chunk, map, wide};

pub use fit::{FitOptions, fit};

/// The number of frames whose products are computed together.
const TILE: usize = 2048;

/// The means of clusters, (count, width).
#[derive(Clone, Debug, PartialEq)]
pub struct Centroids {
    pub values: Vec<f32>,
    /// The number of values per centroid.
    pub width: usize,
}

/// The nearest centroid of a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearest {
    /// The index of the centroid.
    pub centroid: u32,
    /// The squared distance to the centroid.
    pub distance: f32,
}

impl Centroids {
    /// Returns the number of centroids.
    pub fn count(&self) -> usize {
        self.values.len() / self.width
    }

    /// Returns the nearest centroid of each of `frames`, (frames, width).
    pub fn nearest(&self, frames: &[f32]) -> Vec<Nearest> {
        let count = self.count();
        let width = self.width;
        let offsets: Vec<f32> = self
            .values
            .chunks_exact(width)
            .map(|centroid| -0.5 * square(centroid))
            .collect();
        let mut scores = vec![0.0; count * TILE.min(frames.len() / width)];
        let mut nearest = Vec::with_capacity(frames.len() / width);
        for tile in frames.chunks(TILE * width) {
            let shape = Shape {
                m: tile.len() / width,
                n: count,
                k: width,
            };
            gemm_with_epilogue(
                Precision::F32,
                shape,
                View::rows(tile, width),
                View::rows(&self.values, width).t(),
                Out::set(&mut scores, count),
                Epilogue::Bias(&offsets),
            );
            nearest.extend(map(shape.m, |t| {
                let scores = &scores[t * count..(t + 1) * count];
                let centroid = wide!(argmax(scores));
                let distance = square(&tile[t * width..(t + 1) * width]) - 2.0 * scores[centroid];
                Nearest {
                    centroid: centroid as u32,
                    distance: distance.max(0.0),
                }
            }));
        }
        nearest
    }

    /// Moves each centroid to the mean of its frames in `frames` and of the `counts` frames of
    /// which it was the mean, and adds its frames to `counts`.
    fn update(&mut self, frames: &[f32], nearest: &[Nearest], counts: &mut [u64]) {
        let width = self.width;
        let mut members: Vec<Vec<usize>> = vec![vec![]; counts.len()];
        for (t, nearest) in nearest.iter().enumerate() {
            members[nearest.centroid as usize].push(t);
        }
        for_each_chunk(&mut self.values, width, |c, mean| {
            // Sums x - mean instead of x, which would lose precision over many frames.
            let mut difference = vec![0.0; width];
            let count = (counts[c] + members[c].len() as u64).max(1) as f32;
            wide!({
                for t in &members[c] {
                    difference
                        .iter_mut()
                        .zip(&frames[t * width..])
                        .zip(&*mean)
                        .for_each(|((d, x), m)| *d += x - m);
                }
                mean.iter_mut()
                    .zip(&difference)
                    .for_each(|(m, d)| *m += d / count);
            });
        });
        for (count, members) in counts.iter_mut().zip(&members) {
            *count += members.len() as u64;
        }
    }
}

fn square(x: &[f32]) -> f32 {
    wide!(sum(x.len(), |i| x[i] * x[i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use compute::random::noise;

    const WIDTH: usize = 7;

    fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| (*a as f64 - *b as f64).powi(2))
            .sum()
    }

    #[test]
    fn the_nearest_is_the_nearest() {
        let frames = noise("x", 2100 * WIDTH);
        let centroids = Centroids {
            values: noise("c", 40 * WIDTH),
            width: WIDTH,
        };
        for (frame, nearest) in frames.chunks(WIDTH).zip(centroids.nearest(&frames)) {
            let distances: Vec<f64> = centroids
                .values
                .chunks(WIDTH)
                .map(|centroid| squared_distance(centroid, frame))
                .collect();
            let least = distances.iter().copied().fold(f64::INFINITY, f64::min);
            assert!(distances[nearest.centroid as usize] < least + 1e-4);
            assert!((nearest.distance as f64 - least).abs() < 1e-4);
        }
        assert!(centroids.nearest(&[]).is_empty());
    }
}
