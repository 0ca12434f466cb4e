//! Reservoir sampling of frames (Vitter 1985, algorithm R): every frame is kept with the same
//! probability. The sample depends on the key and on the order of the frames alone.
use compute::random::Key;

/// A uniform random sample of the frames added so far.
pub(crate) struct Sample {
    /// The number of values per frame.
    pub(crate) width: usize,
    /// The largest number of frames kept.
    capacity: usize,
    key: Key,
    /// The frames kept, (frames, width).
    pub(crate) frames: Vec<f32>,
    /// The number of frames added so far.
    pub(crate) seen: u64,
}

impl Sample {
    /// Creates an empty sample of at most `capacity` frames.
    pub(crate) fn new(width: usize, capacity: usize, key: Key) -> Sample {
        Sample {
            width,
            capacity,
            key,
            frames: vec![],
            seen: 0,
        }
    }

    /// Adds a frame. Returns the index at which it is kept, maybe in place of another, or `None` if
    /// it is not kept.
    pub(crate) fn add(&mut self, frame: &[f32]) -> Option<usize> {
        let number = self.seen;
        self.seen += 1;
        let kept = self.frames.len() / self.width;
        if kept < self.capacity {
            self.frames.extend_from_slice(frame);
            return Some(kept);
        }
        let index = self.key.below(0, number, self.seen) as usize;
        if index >= self.capacity {
            return None;
        }
        self.frames[index * self.width..(index + 1) * self.width].copy_from_slice(frame);
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_has_the_same_chance() {
        let mut hits = [0; 50];
        for seed in 0..2000 {
            let mut sample = Sample::new(2, 10, Key::new(seed, &["sample"]));
            for i in 0..50 {
                sample.add(&[i as f32, -(i as f32)]);
            }
            assert_eq!(sample.frames.len(), 20);
            assert_eq!(sample.seen, 50);
            for frame in sample.frames.chunks(2) {
                assert_eq!(frame[0], -frame[1]);
                hits[frame[0] as usize] += 1;
            }
        }
        // 400 expected, deviation 18.
        assert!(hits.iter().all(|n| (310..490).contains(n)), "{hits:?}");
    }
}
