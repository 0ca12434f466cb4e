//! The batches of a set in some order, in four bytes a row and eight a batch.
use std::sync::Arc;

/// Batches in an order.
pub(in crate::kind::decode) struct OrderedBatches {
    /// The rows of all batches, each of which is a range of them.
    pub(super) rows: Vec<u32>,
    /// The end of each range.
    pub(super) ends: Arc<[u32]>,
    /// The numbers of the ranges, in order.
    pub(super) order: Vec<u32>,
}

impl OrderedBatches {
    /// Returns the number of batches.
    pub(in crate::kind::decode) fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns the rows of the batch at `index`, of which the first is the shortest.
    pub(in crate::kind::decode) fn batch(&self, index: usize) -> &[u32] {
        let range = self.order[index] as usize;
        let start = match range {
            0 => 0,
            _ => self.ends[range - 1],
        };
        &self.rows[start as usize..self.ends[range] as usize]
    }

    /// Returns the batches in order.
    pub(in crate::kind::decode) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.len()).map(|index| self.batch(index))
    }
}
