//! k-means++ (Arthur and Vassilvitskii 2007): each next centroid is a frame, drawn with a
//! probability proportional to its squared distance to the nearest centroid so far.
use super::Centroids;
use compute::math::sum;
use compute::parallel::{for_each_chunk, wide};
use compute::random::Key;

/// The number of frames in one task.
const TILE: usize = 64;

/// Draws `clusters` centroids from `frames`, (frames, width), of which there is at least one.
pub(super) fn plus_plus(frames: &[f32], width: usize, clusters: usize, key: Key) -> Centroids {
    let count = frames.len() / width;
    let mut distances = vec![f32::INFINITY; count];
    let mut next = key.below(1, 0, count as u64) as usize;
    let mut values = Vec::with_capacity(clusters * width);
    for c in 0..clusters {
        let centroid = &frames[next * width..(next + 1) * width];
        values.extend_from_slice(centroid);
        lower_distances(&mut distances, frames, centroid);
        next = pick(distances.iter().copied(), key.uniform(1, 4 + c as u64));
    }
    Centroids { values, width }
}

/// Lowers the squared distance of each frame to that of `centroid`, if it is less.
fn lower_distances(distances: &mut [f32], frames: &[f32], centroid: &[f32]) {
    let width = centroid.len();
    for_each_chunk(distances, TILE, |tile, distances| {
        let frames = frames[tile * TILE * width..].chunks_exact(width);
        wide!(for (d, x) in distances.iter_mut().zip(frames) {
            *d = d.min(sum(width, |i| (x[i] - centroid[i]) * (x[i] - centroid[i])));
        });
    });
}

/// Returns the index that a draw in [0, 1) selects, each with a probability proportional to its
/// weight; 0 if all weights are 0.
pub(super) fn pick(weights: impl Iterator<Item = f32> + Clone, draw: f32) -> usize {
    let mut left = draw as f64 * weights.clone().map(f64::from).sum::<f64>();
    let mut last = 0;
    for (i, weight) in weights.enumerate().filter(|(_, weight)| *weight > 0.0) {
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
        for (draw, index) in [(0.0, 1), (0.2, 1), (0.26, 3), (0.99, 3)] {
            let weights = [0.0, 1.0, 0.0, 3.0, 0.0];
            assert_eq!(pick(weights.into_iter(), draw), index);
        }
        assert_eq!(pick([0.0; 3].into_iter(), 0.5), 0);
    }

    #[test]
    fn every_distant_point_is_drawn() {
        let frames: Vec<f32> = (0..60).map(|i| (i % 6 * 10) as f32).collect();
        let mut found = plus_plus(&frames, 1, 6, Key::new(1, &["start"])).values;
        found.sort_by(f32::total_cmp);
        assert_eq!(found, [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
    }
}
