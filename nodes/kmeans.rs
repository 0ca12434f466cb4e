//! k-means: centroids c of frames x, to make Σ_x min_c |x - c|² small (Lloyd 1982; mini-batches: Sculley 2010).
//!
//! The nearest centroid is the one of the largest x·c - |c|²/2, so a tile of frames is one product. The fit begins with
//! k-means++ (`start`), passes over shuffled mini-batches, and ends with one step over all frames:
//!   mini-batch: c becomes the mean of all frames that were ever nearest to it       last step: of those that are
//! A centroid that no frame of a pass was nearest to moves to one that is badly served.
mod file;
mod start;

use compute::gemm::{Epilogue, Out, Precision, Shape, View, gemm_then};
use compute::math::{argmax, sum};
use compute::parallel::{map, parts, wide};
use compute::random::Key;

/// Frames whose products are computed together.
const TILE: usize = 2048;
/// Frames a centroid that the start is made of, at least.
const STARTED_BY: usize = 20;

/// Means of clusters, (count, width).
#[derive(Clone, Debug, PartialEq)]
pub struct Centroids {
    pub values: Vec<f32>,
    pub width: usize,
}

/// The nearest centroid of a frame, and the squared distance to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    pub centroid: u32,
    pub distance: f32,
}

/// How to fit.
#[derive(Clone, Copy)]
pub struct Fit {
    pub clusters: usize,
    /// Frames of a mini-batch.
    pub batch: usize,
    /// Over all frames, in mini-batches.
    pub passes: usize,
    pub key: Key,
}

impl Centroids {
    pub fn count(&self) -> usize {
        self.values.len() / self.width
    }

    /// Of each of `frames`, (frames, width).
    pub fn nearest(&self, frames: &[f32]) -> Vec<Near> {
        let (k, width) = (self.count(), self.width);
        let offsets: Vec<f32> = self
            .values
            .chunks_exact(width)
            .map(|c| -0.5 * square(c))
            .collect();
        let mut scores = vec![0.0; k * TILE.min(frames.len() / width)];
        let mut all = Vec::with_capacity(frames.len() / width);
        for tile in frames.chunks(TILE * width) {
            let shape = Shape {
                m: tile.len() / width,
                n: k,
                k: width,
            };
            let (x, c) = (View::rows(tile, width), View::rows(&self.values, width).t());
            gemm_then(
                Precision::F32,
                shape,
                x,
                c,
                Out::set(&mut scores, k),
                Epilogue::Bias(&offsets),
            );
            let near = |t: usize| {
                let scores = &scores[t * k..(t + 1) * k];
                let centroid = wide!(argmax(scores));
                let distance = square(&tile[t * width..(t + 1) * width]) - 2.0 * scores[centroid];
                Near {
                    centroid: centroid as u32,
                    distance: distance.max(0.0),
                }
            };
            all.extend(map(shape.m, near));
        }
        all
    }

    /// Moves each centroid to the mean of its frames and of what it stood for, `counts` frames, which grow.
    fn step(&mut self, frames: &[f32], near: &[Near], counts: &mut [u64]) {
        let width = self.width;
        let mut members: Vec<Vec<usize>> = vec![vec![]; counts.len()];
        near.iter()
            .enumerate()
            .for_each(|(t, near)| members[near.centroid as usize].push(t));
        parts(&mut self.values, width, |c, mean| {
            let mut off = vec![0.0; width]; // Σ x - mean: sums of many frames are not added to a few
            let all = (counts[c] + members[c].len() as u64).max(1) as f32;
            wide!({
                for t in &members[c] {
                    off.iter_mut()
                        .zip(&frames[t * width..])
                        .zip(&*mean)
                        .for_each(|((d, x), m)| *d += x - m);
                }
                mean.iter_mut().zip(&off).for_each(|(m, d)| *m += d / all);
            });
        });
        counts
            .iter_mut()
            .zip(&members)
            .for_each(|(count, members)| *count += members.len() as u64);
    }
}

fn square(x: &[f32]) -> f32 {
    wide!(sum(x.len(), |i| x[i] * x[i]))
}

/// Centroids of `frames`, (frames, width), and the mean squared distance to them before the last step. The same at any
/// number of threads.
///
/// # Panics
/// If there are fewer frames than clusters.
pub fn fit(frames: &[f32], width: usize, how: &Fit) -> (Centroids, f64) {
    let n = frames.len() / width;
    assert!(
        n >= how.clusters,
        "{n} frames for {} clusters",
        how.clusters
    );
    let frame = |t: usize| &frames[t * width..(t + 1) * width];
    let mut order: Vec<usize> = (0..n).collect();
    how.key.shuffle(0, &mut order);
    let first = n.min(how.batch.max(STARTED_BY * how.clusters));
    let mut buffer: Vec<f32> = order[..first]
        .iter()
        .flat_map(|t| frame(*t))
        .copied()
        .collect();
    let mut centroids = start::plus_plus(&buffer, width, how.clusters, how.key);

    let mut counts = vec![0; how.clusters];
    for pass in 0..how.passes {
        let before = counts.clone();
        let mut near = vec![];
        for batch in order.chunks(how.batch) {
            buffer.clear();
            batch
                .iter()
                .for_each(|t| buffer.extend_from_slice(frame(*t)));
            near = centroids.nearest(&buffer);
            centroids.step(&buffer, &near, &mut counts);
        }
        let idle = counts
            .iter_mut()
            .zip(&before)
            .enumerate()
            .filter(|(_, (count, before))| **count == **before);
        for (c, (count, _)) in idle {
            let far = start::pick(
                near.iter().map(|n| n.distance),
                how.key.uniform(2 + pass as u64, c as u64),
            );
            centroids.values[c * width..(c + 1) * width]
                .copy_from_slice(&buffer[far * width..(far + 1) * width]);
            *count = 0;
        }
        how.key.shuffle(1 + pass as u64, &mut order);
    }

    let near = centroids.nearest(frames);
    centroids.step(frames, &near, &mut vec![0; how.clusters]);
    (
        centroids,
        near.iter().map(|n| n.distance as f64).sum::<f64>() / n as f64,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use compute::random::noise;

    const WIDTH: usize = 7;

    /// Frames around so many points, far apart.
    fn clouds(clouds: usize, frames: usize) -> Vec<f32> {
        let noise = noise("clouds", frames * WIDTH);
        let centre = |c: usize, i: usize| {
            if i == c % WIDTH {
                50.0 * (1 + c / WIDTH) as f32
            } else {
                0.0
            }
        };
        (0..frames * WIDTH)
            .map(|i| noise[i] + centre(i / WIDTH % clouds, i % WIDTH))
            .collect()
    }

    fn how(clusters: usize, batch: usize) -> Fit {
        Fit {
            clusters,
            batch,
            passes: 5,
            key: Key::new(3, &["test"]),
        }
    }

    #[test]
    fn the_nearest_is_the_nearest() {
        let (frames, centroids) = (
            noise("x", 2100 * WIDTH),
            Centroids {
                values: noise("c", 40 * WIDTH),
                width: WIDTH,
            },
        );
        for (x, near) in frames.chunks(WIDTH).zip(centroids.nearest(&frames)) {
            let distance = |c: &[f32]| {
                c.iter()
                    .zip(x)
                    .map(|(c, x)| (*c as f64 - *x as f64).powi(2))
                    .sum::<f64>()
            };
            let all: Vec<f64> = centroids.values.chunks(WIDTH).map(distance).collect();
            let least = all.iter().copied().fold(f64::INFINITY, f64::min);
            assert!(
                all[near.centroid as usize] < least + 1e-4
                    && (near.distance as f64 - least).abs() < 1e-4
            );
        }
        assert!(centroids.nearest(&[]).is_empty());
    }

    #[test]
    fn clouds_are_found_each_by_one() {
        let frames = clouds(20, 4000);
        let (centroids, distance) = fit(&frames, WIDTH, &how(20, 300));
        assert!(
            distance < 1.1 * WIDTH as f64 * 1.7 * 1.7 / 3.0,
            "{distance}"
        );
        let near = centroids.nearest(&frames);
        for t in 20..4000 {
            assert_eq!(near[t].centroid, near[t % 20].centroid);
        }
        // A centroid is the mean of its frames.
        let mean: f64 = (0..200)
            .map(|i| frames[i * 20 * WIDTH + 3] as f64)
            .sum::<f64>()
            / 200.0;
        assert!(
            (centroids.values[near[0].centroid as usize * WIDTH + 3] as f64 - mean).abs() < 1e-4
        );
    }

    /// A centroid far from all frames is nearest to none, until it is moved.
    #[test]
    fn a_centroid_without_frames_is_moved() {
        let frames = [vec![0.0; 990 * WIDTH], noise("others", 10 * WIDTH)].concat();
        let (centroids, distance) = fit(
            &frames,
            WIDTH,
            &Fit {
                passes: 8,
                ..how(11, 1000)
            },
        );
        assert!(distance < 1e-6, "{distance}");
        let near = centroids.nearest(&frames);
        assert_eq!(
            (990..1000)
                .map(|t| near[t].centroid)
                .collect::<std::collections::BTreeSet<_>>()
                .len(),
            10
        );
    }

    #[test]
    fn no_number_depends_on_threads() {
        let frames = noise("frames", 5000 * WIDTH);
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("a pool");
            pool.install(|| fit(&frames, WIDTH, &how(50, 700)))
        };
        assert!(with(1) == with(3));
    }
}
