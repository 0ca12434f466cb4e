//! Which utterances share a batch, and the order of batches.
//!
//! Rows are sorted by (size, a draw of the view) and cut where the next row would exceed the limit
//! on the padded size, rows · longest, or belongs to another bucket. The sorted sizes are the same
//! in every view, and so are the cuts: every epoch has as many batches, and a run that resumes
//! finds its position by division.
//!
//! Batches of a number of rows are cut from an order of all rows that is drawn anew in each epoch.
mod ordered;
#[cfg(test)]
mod tests;

use super::crop::Crop;
use super::order::Order;
use crate::data::lengths::Lengths;
use compute::random::Key;
pub(super) use ordered::OrderedBatches;
use rayon::prelude::*;
use std::sync::Arc;

/// The batches of one set of utterances.
pub(super) struct BatchPlan {
    /// The size of each row in samples, by [`Crop::size`].
    sizes: Lengths,
    crop: Crop,
    filling: Filling,
    /// All rows, by size and row.
    by_size: Vec<u32>,
    /// The end of each batch in the ordered rows.
    ends: Arc<[u32]>,
}

/// When a batch is full.
#[derive(Clone, Copy)]
pub(super) enum Filling {
    /// When it has this many samples with their padding.
    Samples(u64),
    /// When it has this many rows.
    Rows(usize),
}

impl BatchPlan {
    /// Plans batches of rows of these sizes. A row of more samples than a batch may have is a batch
    /// by itself.
    pub(super) fn new(sizes: Lengths, filling: Filling, crop: Crop) -> BatchPlan {
        let mut sorted: Vec<(u64, u32)> = sizes.iter().zip(0..).collect();
        sorted.par_sort_unstable();
        let ends: Vec<u32> = match filling {
            Filling::Samples(limit) => ends_by_samples(&sorted, limit, crop),
            Filling::Rows(rows) => {
                let ends = (rows.max(1)..sorted.len()).step_by(rows.max(1));
                let last = (!sorted.is_empty()).then_some(sorted.len());
                ends.chain(last).map(|end| end as u32).collect()
            }
        };
        BatchPlan {
            sizes,
            crop,
            filling,
            by_size: sorted.iter().map(|&(_, row)| row).collect(),
            ends: ends.into(),
        }
    }

    /// Returns the samples kept of each row of a batch.
    pub(super) fn kept(&self, batch: &[u32]) -> impl Iterator<Item = u64> {
        let shortest = batch.first().map_or(0, |row| self.size(*row));
        let rows = batch.iter();
        rows.map(move |row| self.crop.kept(self.size(*row), shortest))
    }

    fn size(&self, row: u32) -> u64 {
        self.sizes.get(row as usize)
    }

    /// Returns the batches in order of length, with rows of equal length in the order of the
    /// manifest. The first row of a batch is its shortest.
    pub(super) fn in_order(&self) -> OrderedBatches {
        OrderedBatches {
            rows: self.by_size.clone(),
            ends: self.ends.clone(),
            order: (0..self.ends.len() as u32).collect(),
        }
    }

    /// Returns the batches of an epoch: combined by (seed, view), ordered by (seed, view, epoch), or
    /// of a number of rows, drawn by (seed, epoch). The first row of a batch is its shortest.
    pub(super) fn of_epoch(
        &self,
        order: Order,
        seed: u64,
        view: u64,
        epoch: u64,
    ) -> OrderedBatches {
        let mates = Key::new(seed, &["batches"]);
        let mut batches = self.in_order();
        if let Filling::Rows(count) = self.filling {
            sort_by_draw(&mut batches.rows, |row| mates.draw(epoch, row as u64));
            for batch in batches.rows.chunks_mut(count.max(1)) {
                batch.sort_by_key(|&row| (self.size(row), row));
            }
            return batches;
        }
        let same_size = |a: &u32, b: &u32| self.size(*a) == self.size(*b);
        for rows in batches.rows.chunk_by_mut(same_size) {
            sort_by_draw(rows, |row| mates.draw(view, row as u64));
        }
        batches.order = order.arrange(batches.order, seed, view, epoch);
        batches
    }
}

/// Cuts sorted rows where the next would exceed the limit or belongs to another bucket. Returns the
/// ends of the batches.
fn ends_by_samples(sorted: &[(u64, u32)], limit: u64, crop: Crop) -> Vec<u32> {
    let mut ends = vec![];
    let mut first = 0;
    for (row, &(size, _)) in sorted.iter().enumerate() {
        let within_limit = (row - first + 1) as u64 * size <= limit;
        let same_bucket = crop != Crop::Bucket || size == sorted[first].0;
        if row > first && !(within_limit && same_bucket) {
            ends.push(row as u32);
            first = row;
        }
    }
    if first < sorted.len() {
        ends.push(sorted.len() as u32);
    }
    ends
}

/// Sorts rows by a draw of each and, where draws are equal, by row.
fn sort_by_draw(rows: &mut [u32], draw: impl Fn(u32) -> [u32; 4] + Sync) {
    // Half of a draw nearly always decides, and takes half of the memory.
    let half = |row: u32| {
        let [a, b, ..] = draw(row);
        ((a as u64) << 32) | b as u64
    };
    let mut drawn: Vec<(u64, u32)> = rows.iter().map(|&row| (half(row), row)).collect();
    drawn.par_sort_unstable_by(|a, b| {
        let whole = |row: u32| (draw(row), row);
        a.0.cmp(&b.0).then_with(|| whole(a.1).cmp(&whole(b.1)))
    });
    for (place, (_, row)) in rows.iter_mut().zip(drawn) {
        *place = row;
    }
}
