//! Some of the frames that pass, each with the same chance (Vitter's algorithm R): a function of the key and of their order.
use compute::random::Key;

/// At most `most` frames, `width` numbers each.
pub struct Sample {
    pub width: usize,
    most: usize,
    key: Key,
    /// (frames, width), all that are kept.
    pub frames: Vec<f32>,
    /// How many have passed.
    pub seen: u64,
}

impl Sample {
    pub fn new(width: usize, most: usize, key: Key) -> Sample {
        Sample {
            width,
            most,
            key,
            frames: vec![],
            seen: 0,
        }
    }

    /// The place at which the frame is kept now, if it is.
    pub fn add(&mut self, frame: &[f32]) -> Option<usize> {
        let (seen, kept) = (self.seen, self.frames.len() / self.width);
        self.seen += 1;
        if kept < self.most {
            self.frames.extend_from_slice(frame);
            return Some(kept);
        }
        let at = self.key.below(0, seen, self.seen) as usize;
        (at < self.most).then(|| {
            self.frames[at * self.width..(at + 1) * self.width].copy_from_slice(frame);
            at
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_has_its_chance() {
        let mut hits = [0; 50];
        for seed in 0..2000 {
            let mut sample = Sample::new(2, 10, Key::new(seed, &["sample"]));
            for i in 0..50 {
                sample.add(&[i as f32, -(i as f32)]);
            }
            assert_eq!((sample.frames.len(), sample.seen), (20, 50));
            assert!(sample.frames.chunks(2).all(|f| f[0] == -f[1]));
            sample
                .frames
                .chunks(2)
                .for_each(|f| hits[f[0] as usize] += 1);
        }
        // 400 expected, deviation 18.
        assert!(hits.iter().all(|n| (310..490).contains(n)), "{hits:?}");
    }
}
