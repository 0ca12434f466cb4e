//! What is kept of an utterance: how much of it, and from where. How much does not depend on the view, so that every
//! view has batches of the same sizes; where does.
use compute::random::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Hop of the feature extractors of the HuBERT family, in samples at 16 kHz: crops lie on this grid.
const HOP: u64 = 320;

/// How the utterances of a train batch are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Crop {
    /// Whole utterances.
    #[default]
    None,
    /// To the largest multiple of `bucket_seconds` that fits; one shorter than a bucket as for `batch`.
    Bucket,
    /// To the shortest of the batch, rounded down to 320 samples (whole below 640).
    Batch,
}

impl Crop {
    /// The length by which an utterance of `length` samples finds its batch.
    pub fn size(self, length: u64, bucket: u64) -> u64 {
        match self {
            Crop::Bucket if length >= bucket => length / bucket * bucket,
            Crop::Bucket => on_grid(length),
            Crop::None | Crop::Batch => length,
        }
    }
    /// Samples kept of an utterance of this size in a batch whose shortest one has `shortest`.
    pub fn kept(self, size: u64, shortest: u64) -> u64 {
        if self == Crop::Batch {
            on_grid(shortest)
        } else {
            size
        }
    }
}

fn on_grid(length: u64) -> u64 {
    if length < 2 * HOP {
        length
    } else {
        length / HOP * HOP
    }
}

/// The first sample of the `kept` ones: uniform over the grid, a function of the arguments alone.
pub fn start(seed: u64, id: &str, view: u64, length: u64, kept: u64) -> u64 {
    Key::new(seed, &["crop", id]).below(view, length, (length - kept) / HOP + 1) * HOP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets() {
        let cases = [
            (0, 0),
            (399, 399),
            (639, 639),
            (640, 640),
            (959, 640),
            (10_239, 9_920),
            (10_240, 10_240),
            (25_000, 20_480),
        ];
        for (length, size) in cases {
            assert_eq!(Crop::Bucket.size(length, 10_240), size, "of {length}");
            assert_eq!(Crop::Bucket.kept(size, 7), size);
            assert_eq!(
                (Crop::None.size(length, 10_240), Crop::None.kept(length, 7)),
                (length, length)
            );
        }
    }

    #[test]
    fn shortest_of_a_batch() {
        for (shortest, kept) in [(500, 500), (640, 640), (1000, 960), (9_599, 9_280)] {
            assert_eq!(
                Crop::Batch.kept(Crop::Batch.size(20_000, 1), shortest),
                kept
            );
        }
    }

    #[test]
    fn starts_fill_the_grid() {
        let starts: Vec<u64> = (0..300)
            .map(|view| start(1, "a", view, 3000, 1280))
            .collect();
        assert!(starts.iter().all(|s| s % HOP == 0 && s + 1280 <= 3000));
        let seen: std::collections::BTreeSet<_> = starts.iter().collect();
        assert_eq!(seen.len(), 6, "0, 320, ..., 1600");
        let others = |seed, id| {
            (0..300)
                .map(|view| start(seed, id, view, 3000, 1280))
                .collect::<Vec<_>>()
        };
        assert_eq!(starts, others(1, "a"));
        assert!(starts != others(2, "a") && starts != others(1, "b"));
    }
}
