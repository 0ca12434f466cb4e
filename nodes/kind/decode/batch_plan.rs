//! Which utterances share a batch, and the order of batches.
//!
//! Rows are sorted by (size, a draw of the view) and cut where the next row would exceed the limit
//! on the padded size, rows · longest, or belongs to another bucket. The sorted sizes are the same
//! in every view, and so are the cuts: every epoch has as many batches, and a run that resumes
//! finds its position by division.
//!
//! Batches of a number of rows are cut from an order of all rows that is drawn anew in each epoch.
use super::crop::Crop;
use super::order::Order;
use compute::random::Key;
use std::ops::Range;

/// The batches of one set of utterances.
pub(super) struct BatchPlan {
    /// The size of each row in samples, by [`Crop::size`].
    sizes: Vec<u64>,
    crop: Crop,
    /// The ranges of the ordered rows that are batches.
    cuts: Vec<Range<usize>>,
    filling: Filling,
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
    /// Plans batches. A row of more samples than a batch may have is a batch by itself.
    pub(super) fn new(sizes: Vec<u64>, filling: Filling, crop: Crop) -> BatchPlan {
        let cuts = match filling {
            Filling::Samples(limit) => BatchPlan::cuts_by_samples(&sizes, limit, crop),
            Filling::Rows(rows) => {
                let starts = (0..sizes.len()).step_by(rows.max(1));
                starts
                    .map(|first| first..sizes.len().min(first + rows))
                    .collect()
            }
        };
        BatchPlan {
            sizes,
            crop,
            cuts,
            filling,
        }
    }

    fn cuts_by_samples(sizes: &[u64], limit: u64, crop: Crop) -> Vec<Range<usize>> {
        let mut sorted = sizes.to_vec();
        sorted.sort_unstable();
        let mut cuts = vec![];
        let mut first = 0;
        for (row, &size) in sorted.iter().enumerate() {
            let within_limit = (row - first + 1) as u64 * size <= limit;
            let same_bucket = crop != Crop::Bucket || size == sorted[first];
            if row > first && !(within_limit && same_bucket) {
                cuts.push(first..row);
                first = row;
            }
        }
        if first < sorted.len() {
            cuts.push(first..sorted.len());
        }
        cuts
    }

    /// Returns the samples kept of each row of a batch.
    pub(super) fn kept(&self, batch: &[usize]) -> Vec<u64> {
        let shortest = self.sizes[batch[0]];
        batch
            .iter()
            .map(|&row| self.crop.kept(self.sizes[row], shortest))
            .collect()
    }

    /// Returns the batches in order of length, with rows of equal length in the order of the
    /// manifest. The first row of a batch is its shortest.
    pub(super) fn in_order(&self) -> Vec<Vec<usize>> {
        self.batches(|row| (self.sizes[row], row))
    }

    /// Returns the batches of an epoch: combined by (seed, view), ordered by (seed, view, epoch), or
    /// of a number of rows, drawn by (seed, epoch). The first row of a batch is its shortest.
    pub(super) fn of_epoch(
        &self,
        order: Order,
        seed: u64,
        view: u64,
        epoch: u64,
    ) -> Vec<Vec<usize>> {
        let mates = Key::new(seed, &["batches"]);
        if let Filling::Rows(_) = self.filling {
            let mut batches = self.batches(|row| (mates.draw(epoch, row as u64), row));
            for batch in &mut batches {
                batch.sort_by_key(|&row| (self.sizes[row], row));
            }
            return batches;
        }
        let batches = self.batches(|row| (self.sizes[row], mates.draw(view, row as u64), row));
        order.arrange(batches, seed, view, epoch)
    }

    fn batches<K: Ord>(&self, sort_key: impl Fn(usize) -> K) -> Vec<Vec<usize>> {
        let mut rows: Vec<usize> = (0..self.sizes.len()).collect();
        rows.sort_by_cached_key(|&row| sort_key(row));
        let cuts = self.cuts.iter();
        cuts.map(|cut| rows[cut.clone()].to_vec()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 100_000;
    const ROWS: usize = 500;

    /// Returns sizes of which many are equal and one is above the limit.
    fn sizes() -> Vec<u64> {
        let key = Key::new(3, &["sizes"]);
        let mut sizes: Vec<u64> = (0..ROWS as u64)
            .map(|row| key.below(0, row, 30) * 1280)
            .collect();
        sizes[77] = LIMIT + 1;
        sizes
    }

    fn plan(crop: Crop) -> BatchPlan {
        BatchPlan::new(sizes(), Filling::Samples(LIMIT), crop)
    }

    #[test]
    fn every_row_once_and_limits_kept() {
        let sizes = sizes();
        let plan = plan(Crop::None);
        let in_order = plan.in_order();
        let epochs = [
            plan.of_epoch(Order::default(), 5, 2, 2),
            plan.of_epoch(Order::default(), 5, 2, 7),
        ];
        for batches in epochs.iter().chain([&in_order]) {
            assert_eq!(batches.len(), in_order.len());
            let mut rows = batches.concat();
            rows.sort();
            assert_eq!(rows, (0..ROWS).collect::<Vec<_>>());
            for batch in batches {
                let longest = batch.iter().map(|&row| sizes[row]).max().unwrap();
                assert!(batch.len() as u64 * longest <= LIMIT || batch.len() == 1);
                assert!(batch.iter().all(|&row| sizes[row] >= sizes[batch[0]]));
            }
        }
    }

    #[test]
    fn batches_are_full() {
        let sizes = sizes();
        for pair in plan(Crop::None).in_order().windows(2) {
            assert!((pair[0].len() as u64 + 1) * sizes[pair[1][0]] > LIMIT);
        }
    }

    #[test]
    fn batches_of_rows_are_drawn_anew_in_each_epoch() {
        let sizes = sizes();
        let plan = BatchPlan::new(sizes.clone(), Filling::Rows(32), Crop::None);
        let epochs = [
            plan.of_epoch(Order::default(), 5, 0, 0),
            plan.of_epoch(Order::default(), 5, 0, 1),
        ];
        for batches in epochs.iter().chain([&plan.in_order()]) {
            let lengths: Vec<usize> = batches.iter().map(Vec::len).collect();
            assert_eq!(lengths[..15], [32; 15]);
            assert_eq!(lengths[15..], [20]);
            let mut rows = batches.concat();
            rows.sort();
            assert_eq!(rows, (0..ROWS).collect::<Vec<_>>());
            for batch in batches {
                assert!(batch.iter().all(|&row| sizes[row] >= sizes[batch[0]]));
            }
        }
        let mates = |batches: &[Vec<usize>]| {
            let of_row_7 = batches.iter().find(|batch| batch.contains(&7));
            let mut mates = of_row_7.unwrap().clone();
            mates.sort();
            mates
        };
        assert_ne!(mates(&epochs[0]), mates(&epochs[1]));
        assert_eq!(plan.of_epoch(Order::default(), 5, 0, 0), epochs[0]);
        assert_ne!(plan.of_epoch(Order::default(), 6, 0, 0), epochs[0]);
    }

    #[test]
    fn a_batch_has_one_bucket() {
        let plan = plan(Crop::Bucket);
        let batches = plan.of_epoch(Order::default(), 5, 0, 0);
        let kept: Vec<_> = batches.iter().map(|batch| plan.kept(batch)).collect();
        for lengths in &kept {
            assert!(lengths.iter().all(|n| *n == lengths[0]));
        }
        assert!(kept.iter().any(|lengths| lengths.len() > 5));
    }

    #[test]
    fn a_view_is_combined_once_and_shuffled_each_epoch() {
        let plan = plan(Crop::None);
        let sorted = |mut batches: Vec<Vec<usize>>| {
            batches.sort();
            batches
        };
        let first = plan.of_epoch(Order::default(), 5, 1, 1);
        let again = plan.of_epoch(Order::default(), 5, 1, 3);
        assert_eq!(first, plan.of_epoch(Order::default(), 5, 1, 1));
        assert_ne!(first, again);
        assert_eq!(sorted(first.clone()), sorted(again));
        assert_ne!(
            sorted(first.clone()),
            sorted(plan.of_epoch(Order::default(), 5, 2, 1))
        );
        assert_ne!(
            sorted(first),
            sorted(plan.of_epoch(Order::default(), 6, 1, 1))
        );
    }

    #[test]
    fn no_rows_are_no_batches() {
        for filling in [Filling::Samples(LIMIT), Filling::Rows(3)] {
            let plan = BatchPlan::new(vec![], filling, Crop::None);
            assert!(plan.in_order().is_empty());
        }
    }
}
