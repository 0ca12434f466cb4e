//! Fits centroids to frames: k-means++ on some of the frames, passes over all of them in shuffled
//! mini-batches, and one step over all frames.
//!
//! A mini-batch moves a centroid to the mean of all frames that were nearest to it since the start,
//! the last step to the mean of those that are. A centroid that is nearest to no frame of a pass
//! moves to a frame that is far from its centroid.
use super::{Centroids, Nearest, start};
use compute::random::Key;

/// The least number of frames per centroid that k-means++ starts from.
const START_FRAMES: usize = 20;

/// How to fit.
#[derive(Clone, Copy)]
pub struct FitOptions {
    /// The number of centroids.
    pub clusters: usize,
    /// The number of frames in a mini-batch.
    pub batch: usize,
    /// The number of passes over all frames.
    pub passes: usize,
    /// The key of the start and of the order of frames.
    pub key: Key,
}

/// Fits centroids to `frames`, (frames, width). Returns them and the mean squared distance of
/// frames to their centroids before the last step. The result does not depend on the number of
/// threads.
///
/// # Panics
/// If there are fewer frames than clusters.
pub fn fit(frames: &[f32], width: usize, options: &FitOptions) -> (Centroids, f64) {
    let FitOptions {
        clusters,
        batch,
        passes,
        key,
    } = *options;
    let count = frames.len() / width;
    assert!(count >= clusters, "{count} frames for {clusters} clusters");
    let mut order: Vec<usize> = (0..count).collect();
    key.shuffle(0, &mut order);
    let start_frames = count.min(batch.max(START_FRAMES * clusters));
    let mut gathered = vec![];
    gather(frames, width, &order[..start_frames], &mut gathered);
    let mut centroids = start::plus_plus(&gathered, width, clusters, key);

    let mut counts = vec![0; clusters];
    for pass in 0..passes {
        let counts_before = counts.clone();
        let mut nearest: Vec<Nearest> = vec![];
        for indices in order.chunks(batch) {
            gather(frames, width, indices, &mut gathered);
            nearest = centroids.nearest(&gathered);
            centroids.update(&gathered, &nearest, &mut counts);
        }
        for c in 0..clusters {
            if counts[c] != counts_before[c] {
                continue;
            }
            let distances = nearest.iter().map(|nearest| nearest.distance);
            let far = start::pick(distances, key.uniform(2 + pass as u64, c as u64));
            centroids.values[c * width..(c + 1) * width]
                .copy_from_slice(&gathered[far * width..(far + 1) * width]);
            counts[c] = 0;
        }
        key.shuffle(1 + pass as u64, &mut order);
    }

    let nearest = centroids.nearest(frames);
    centroids.update(frames, &nearest, &mut vec![0; clusters]);
    let distance: f64 = nearest.iter().map(|nearest| nearest.distance as f64).sum();
    (centroids, distance / count as f64)
}

/// Replaces the content of `gathered` by the frames with these indices.
fn gather(frames: &[f32], width: usize, indices: &[usize], gathered: &mut Vec<f32>) {
    gathered.clear();
    for t in indices {
        gathered.extend_from_slice(&frames[t * width..(t + 1) * width]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use compute::random::noise;
    use std::collections::BTreeSet;

    const WIDTH: usize = 7;

    /// Returns frames around `clouds` points that are far from each other; frame t belongs to point
    /// t % clouds.
    fn clouds(clouds: usize, frames: usize) -> Vec<f32> {
        let mut values = noise("clouds", frames * WIDTH);
        for t in 0..frames {
            let cloud = t % clouds;
            values[t * WIDTH + cloud % WIDTH] += 50.0 * (1 + cloud / WIDTH) as f32;
        }
        values
    }

    fn options(clusters: usize, batch: usize) -> FitOptions {
        FitOptions {
            clusters,
            batch,
            passes: 5,
            key: Key::new(3, &["test"]),
        }
    }

    #[test]
    fn every_cloud_is_found_by_one_centroid() {
        let frames = clouds(20, 4000);
        let (centroids, distance) = fit(&frames, WIDTH, &options(20, 300));
        let limit = 1.1 * WIDTH as f64 * 1.7 * 1.7 / 3.0;
        assert!(distance < limit, "{distance}");
        let nearest = centroids.nearest(&frames);
        for t in 20..4000 {
            assert_eq!(nearest[t].centroid, nearest[t % 20].centroid);
        }
        // A centroid is the mean of its frames.
        let sum: f64 = (0..200).map(|i| frames[i * 20 * WIDTH + 3] as f64).sum();
        let found = centroids.values[nearest[0].centroid as usize * WIDTH + 3];
        assert!((found as f64 - sum / 200.0).abs() < 1e-4);
    }

    /// A centroid far from all frames is nearest to none, until it is moved.
    #[test]
    fn a_centroid_without_frames_is_moved() {
        let frames = [vec![0.0; 990 * WIDTH], noise("others", 10 * WIDTH)].concat();
        let options = FitOptions {
            passes: 8,
            ..options(11, 1000)
        };
        let (centroids, distance) = fit(&frames, WIDTH, &options);
        assert!(distance < 1e-6, "{distance}");
        let nearest = centroids.nearest(&frames);
        let found: BTreeSet<u32> = (990..1000).map(|t| nearest[t].centroid).collect();
        assert_eq!(found.len(), 10);
    }

    #[test]
    fn the_result_does_not_depend_on_threads() {
        let frames = noise("frames", 5000 * WIDTH);
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("a pool");
            pool.install(|| fit(&frames, WIDTH, &options(50, 700)))
        };
        assert!(with(1) == with(3));
    }
}
