//! Crops: how much of an utterance is kept, and from where. How much does not depend on the view,
//! so that every view has batches of the same sizes; where does.
use compute::random::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The hop of HuBERT's feature extractor, in samples at 16 kHz. Crops lie on this grid.
const HOP: u64 = 320;

/// How the utterances of a train batch are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Crop {
    /// Whole utterances.
    #[default]
    None,
    /// To the largest multiple of `bucket_seconds` that fits; one shorter than a bucket as for
    /// `batch`.
    Bucket,
    /// To the shortest of the batch, rounded down to 320 samples (whole below 640).
    Batch,
    /// To `window_seconds`, where they are longer.
    Window,
}

impl Crop {
    /// Returns the size by which an utterance of `length` samples is sorted into batches; `unit` is
    /// the samples of a bucket or of a window.
    pub(super) fn size(self, length: u64, unit: u64) -> u64 {
        match self {
            Crop::Bucket if length >= unit => length / unit * unit,
            Crop::Bucket => round_to_grid(length),
            Crop::None | Crop::Batch => length,
            Crop::Window => length.min(unit),
        }
    }

    /// Returns the samples kept of an utterance of this size, in a batch whose shortest utterance
    /// has `shortest` samples.
    pub(super) fn kept(self, size: u64, shortest: u64) -> u64 {
        match self {
            Crop::Batch => round_to_grid(shortest),
            Crop::None | Crop::Bucket | Crop::Window => size,
        }
    }
}

fn round_to_grid(length: u64) -> u64 {
    if length < 2 * HOP {
        length
    } else {
        length / HOP * HOP
    }
}

/// Draws the first of the `kept` samples uniformly from the grid, as a function of the arguments.
pub(super) fn start(seed: u64, id: &str, view: u64, length: u64, kept: u64) -> u64 {
    let starts = (length - kept) / HOP + 1;
    Key::new(seed, &["crop", id]).below(view, length, starts) * HOP
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

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
            assert_eq!(Crop::None.size(length, 10_240), length);
            assert_eq!(Crop::None.kept(length, 7), length);
        }
    }

    #[test]
    fn windows() {
        for (length, size) in [(0, 0), (9_999, 9_999), (10_000, 10_000), (25_000, 10_000)] {
            assert_eq!(Crop::Window.size(length, 10_000), size);
            assert_eq!(Crop::Window.kept(size, 7), size);
        }
    }

    #[test]
    fn shortest_of_a_batch() {
        let size = Crop::Batch.size(20_000, 1);
        for (shortest, kept) in [(500, 500), (640, 640), (1000, 960), (9_599, 9_280)] {
            assert_eq!(Crop::Batch.kept(size, shortest), kept);
        }
    }

    #[test]
    fn starts_fill_the_grid() {
        let starts = |seed, id| -> Vec<u64> {
            (0..300)
                .map(|view| start(seed, id, view, 3000, 1280))
                .collect()
        };
        let drawn = starts(1, "a");
        assert!(drawn.iter().all(|s| s % HOP == 0 && s + 1280 <= 3000));
        let distinct: BTreeSet<_> = drawn.iter().collect();
        assert_eq!(distinct.len(), 6, "0, 320, ..., 1600");
        assert_eq!(drawn, starts(1, "a"));
        assert_ne!(drawn, starts(2, "a"));
        assert_ne!(drawn, starts(1, "b"));
    }
}
