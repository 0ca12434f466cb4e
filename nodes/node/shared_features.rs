//! Features of rows that nodes of one frozen model compute once for all of them: a method may run
//! its teacher twice over the same rows, with a mask and without (ARMHuBERT), and masks reach the
//! encoder alone.
//!
//! On a GPU a tensor belongs to the thread that made it, so that there each node computes its own.
use arrow::array::ArrayRef;
use compute::gemm::Precision;
use compute::tensor::Hidden;
use std::sync::Arc;
#[cfg(not(feature = "cuda"))]
use std::{
    collections::VecDeque,
    sync::{Mutex, OnceLock, PoisonError},
};

/// Batches that are kept at most: more than a node can be ahead of another.
#[cfg(not(feature = "cuda"))]
const BATCHES: usize = 8;

/// What the features of a batch depend on, beside the model.
pub struct FeatureSource {
    /// The column of samples, which is known by its place in memory.
    pub samples: ArrayRef,
    pub normalize: bool,
    pub precision: Precision,
}

impl PartialEq for FeatureSource {
    fn eq(&self, other: &FeatureSource) -> bool {
        Arc::ptr_eq(&self.samples, &other.samples)
            && self.normalize == other.normalize
            && self.precision == other.precision
    }
}

/// The features of recent batches, of one model.
#[derive(Default)]
pub struct SharedFeatures {
    #[cfg(not(feature = "cuda"))]
    batches: Mutex<VecDeque<Batch>>,
}

/// The features of a batch's rows, each by itself.
#[cfg(not(feature = "cuda"))]
type Features = Arc<OnceLock<Vec<Hidden>>>;

#[cfg(not(feature = "cuda"))]
struct Batch {
    source: FeatureSource,
    features: Features,
    /// Nodes that have not asked for them.
    waiting: usize,
}

impl SharedFeatures {
    /// Returns the features of each row, which `compute` computes unless another node does or did.
    /// `None` if no other node has the model.
    ///
    /// Waits for the other node, so not to be called by a thread of a pool that `compute` uses.
    #[cfg(not(feature = "cuda"))]
    pub fn rows(
        self: &Arc<Self>,
        source: FeatureSource,
        compute: impl FnOnce() -> Vec<Hidden>,
    ) -> Option<Vec<Hidden>> {
        // One more is held by the models of the phase.
        let nodes = Arc::strong_count(self) - 1;
        if nodes < 2 {
            return None;
        }
        let features = self.batch(source, nodes);
        Some(features.get_or_init(compute).clone())
    }

    /// Returns `None`.
    #[cfg(feature = "cuda")]
    pub fn rows(
        self: &Arc<Self>,
        _: FeatureSource,
        _: impl FnOnce() -> Vec<Hidden>,
    ) -> Option<Vec<Hidden>> {
        None
    }

    /// Returns the place of a batch's features, and forgets it when the last node has asked.
    #[cfg(not(feature = "cuda"))]
    fn batch(&self, source: FeatureSource, nodes: usize) -> Features {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = batches.iter().position(|batch| batch.source == source) else {
            let features = Features::default();
            batches.push_back(Batch {
                source,
                features: features.clone(),
                waiting: nodes - 1,
            });
            if batches.len() > BATCHES {
                batches.pop_front();
            }
            return features;
        };
        batches[found].waiting -= 1;
        match batches[found].waiting {
            0 => batches.remove(found).expect("it was found").features,
            _ => batches[found].features.clone(),
        }
    }
}

#[cfg(all(test, not(feature = "cuda")))]
mod tests {
    use super::*;
    use arrow::array::Float32Array;
    use compute::tensor::{Spans, hidden};
    use std::cell::Cell;

    #[test]
    fn a_batch_is_computed_once_for_all_nodes() {
        let computed = Cell::new(0u8);
        let of = |node: &Arc<SharedFeatures>, samples: &ArrayRef, normalize: bool| {
            let source = FeatureSource {
                samples: samples.clone(),
                normalize,
                precision: Precision::F32,
            };
            let compute = || {
                computed.set(computed.get() + 1);
                vec![hidden(vec![f32::from(computed.get())], 1, Spans::new([1]))]
            };
            let rows = node.rows(source, compute);
            rows.map(|rows| rows[0].read()[0])
        };
        let batch = || -> ArrayRef { Arc::new(Float32Array::from(vec![0.5])) };
        let models = Arc::new(SharedFeatures::default());
        let first = models.clone();
        let samples = batch();
        assert_eq!(of(&first, &samples, false), None);
        let second = models.clone();
        assert_eq!(of(&first, &samples, false), Some(1.0));
        assert_eq!(of(&second, &samples, false), Some(1.0));
        // What both had is forgotten, and equal samples elsewhere are another batch.
        assert_eq!(of(&second, &samples, false), Some(2.0));
        assert_eq!(of(&first, &samples, true), Some(3.0));
        assert_eq!(of(&first, &batch(), false), Some(4.0));
        assert_eq!(of(&first, &samples, false), Some(2.0));
        for _ in 0..20 {
            of(&first, &batch(), false);
        }
        let kept = models.batches.lock().expect("no panic").len();
        assert_eq!(kept, BATCHES);
    }
}
