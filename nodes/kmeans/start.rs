//! k-means++ (Arthur and Vassilvitskii 2007): each next centroid is a frame, drawn with a chance that is proportional to its
//! squared distance to the nearest of those before.
use super::Centroids;
use compute::math::sum;
use compute::parallel::{parts, wide};
use compute::random::Key;

/// Frames of one task.
const TILE: usize = 64;

/// The first centroids out of `frames`, (frames, width), at least one.
pub fn plus_plus(frames: &[f32], width: usize, clusters: usize, key: Key) -> Centroids {
    let n = frames.len() / width;
    let mut distances = vec![f32::INFINITY; n];
    let mut next = key.below(1, 0, n as u64) as usize;
    let mut values = Vec::with_capacity(clusters * width);
    for c in 0..clusters {
        let centroid = &frames[next * width..(next + 1) * width];
        values.extend_from_slice(centroid);
        nearer(&mut distances, frames, centroid);
        next = pick(distances.iter().copied(), key.uniform(1, 4 + c as u64));
    }
    Centroids { values, width }
}

/// Lowers each distance to that of `centroid`, where it is less.
fn nearer(distances: &mut [f32], frames: &[f32], centroid: &[f32]) {
    let width = centroid.len();
    parts(distances, TILE, |tile, distances| {
        let frames = frames[tile * TILE * width..].chunks_exact(width);
        wide!(for (d, x) in distances.iter_mut().zip(frames) {
            *d = d.min(sum(width, |i| (x[i] - centroid[i]) * (x[i] - centroid[i])));
        });
    });
}

/// Which of these weights a draw in [0, 1) hits; the first, if all are 0.
pub fn pick(weights: impl Iterator<Item = f32> + Clone, draw: f32) -> usize {
    let mut left = draw as f64 * weights.clone().map(f64::from).sum::<f64>();
    let mut last = 0;
    for (i, weight) in weights.enumerate().filter(|(_, w)| *w > 0.0) {
        last = i;
        left -= weight as f64;
        if left < 0.0 {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_hits_weights_by_their_size() {
        let hits = |draw: f32| pick([0.0, 1.0, 0.0, 3.0, 0.0].into_iter(), draw);
        assert_eq!([0.0, 0.2, 0.26, 0.99].map(hits), [1, 1, 3, 3]);
        assert_eq!(pick([0.0; 3].into_iter(), 0.5), 0);
    }

    #[test]
    fn points_apart_are_all_taken() {
        let frames: Vec<f32> = (0..60).map(|i| (i % 6 * 10) as f32).collect();
        let mut found = plus_plus(&frames, 1, 6, Key::new(1, &["start"])).values;
        found.sort_by(f32::total_cmp);
        assert_eq!(found, [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
    }
}
