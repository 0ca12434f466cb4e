//! Which utterances share a batch, and in which order batches come.
//!
//! Rows are sorted by (size, a draw of the view) and cut when the next one would pass the limit on the padded size
//! rows x longest, or begins another bucket. The sizes in sorted order are the same in every view, and so are the cuts: every epoch has as many
//! batches, and a run that goes on finds its place by dividing.
use super::crop::Crop;
use compute::random::Key;
use std::ops::Range;

pub struct Batches {
    /// Of each row: samples, in buckets where there are some.
    sizes: Vec<u64>,
    crop: Crop,
    /// Of the sorted rows.
    cuts: Vec<Range<usize>>,
}

impl Batches {
    /// `limit`: samples of a batch with its padding; a row that is longer is a batch by itself.
    pub fn new(sizes: Vec<u64>, limit: u64, crop: Crop) -> Batches {
        let mut sorted = sizes.clone();
        sorted.sort_unstable();
        let (mut cuts, mut first) = (vec![], 0);
        for (row, &size) in sorted.iter().enumerate() {
            let fits = (row - first + 1) as u64 * size <= limit
                && (crop != Crop::Bucket || size == sorted[first]);
            if row > first && !fits {
                cuts.push(first..row);
                first = row;
            }
        }
        if first < sorted.len() {
            cuts.push(first..sorted.len());
        }
        Batches { sizes, crop, cuts }
    }
    /// How many samples each row of a batch keeps.
    pub fn kept(&self, batch: &[usize]) -> Vec<u64> {
        batch
            .iter()
            .map(|&row| self.crop.kept(self.sizes[row], self.sizes[batch[0]]))
            .collect()
    }
    /// In order of length, rows of equal length as they stand in the manifest. The first row of a batch is its shortest.
    pub fn in_order(&self) -> Vec<Vec<usize>> {
        self.cut(|row| (self.sizes[row], row))
    }
    /// Made up by (seed, view), shuffled by (seed, epoch). The first row of a batch is its shortest.
    pub fn of_epoch(&self, seed: u64, view: u64, epoch: u64) -> Vec<Vec<usize>> {
        let (mates, order) = (Key::new(seed, &["batches"]), Key::new(seed, &["order"]));
        let mut batches = self.cut(|row| (self.sizes[row], mates.draw(view, row as u64), row));
        order.shuffle(epoch, &mut batches);
        batches
    }
    fn cut<K: Ord>(&self, key: impl Fn(usize) -> K) -> Vec<Vec<usize>> {
        let mut rows: Vec<usize> = (0..self.sizes.len()).collect();
        rows.sort_by_cached_key(|&row| key(row));
        self.cuts
            .iter()
            .map(|cut| rows[cut.clone()].to_vec())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 100_000;

    /// 500 rows, many of equal size, one longer than the limit.
    fn rows() -> Vec<u64> {
        let key = Key::new(3, &["sizes"]);
        (0..500)
            .map(|i| {
                if i == 77 {
                    LIMIT + 1
                } else {
                    key.below(0, i, 30) * 1280
                }
            })
            .collect()
    }

    #[test]
    fn every_row_once_and_limits_kept() {
        let (sizes, batches) = (rows(), Batches::new(rows(), LIMIT, Crop::None));
        for made in [
            batches.in_order(),
            batches.of_epoch(5, 2, 2),
            batches.of_epoch(5, 2, 7),
        ] {
            assert_eq!(made.len(), batches.in_order().len());
            let mut all = made.concat();
            all.sort();
            assert_eq!(all, (0..500).collect::<Vec<_>>());
            for batch in &made {
                let longest = batch.iter().map(|&r| sizes[r]).max().unwrap();
                assert!(batch.len() as u64 * longest <= LIMIT || batch.len() == 1);
                assert!(batch.iter().all(|&r| sizes[r] >= sizes[batch[0]]));
            }
        }
    }

    #[test]
    fn batches_are_full() {
        let (sizes, made) = (rows(), Batches::new(rows(), LIMIT, Crop::None).in_order());
        for pair in made.windows(2) {
            assert!((pair[0].len() as u64 + 1) * sizes[pair[1][0]] > LIMIT);
        }
    }

    #[test]
    fn a_bucket_is_not_mixed() {
        let batches = Batches::new(rows(), LIMIT, Crop::Bucket);
        let kept: Vec<_> = batches
            .of_epoch(5, 0, 0)
            .iter()
            .map(|batch| batches.kept(batch))
            .collect();
        assert!(
            kept.iter()
                .all(|lengths| lengths.iter().all(|n| *n == lengths[0]))
        );
        assert!(kept.iter().any(|lengths| lengths.len() > 5));
    }

    #[test]
    fn a_view_is_made_up_once_and_shuffled_each_epoch() {
        let batches = Batches::new(rows(), LIMIT, Crop::None);
        let sorted = |mut made: Vec<Vec<usize>>| {
            made.sort();
            made
        };
        let (first, again) = (batches.of_epoch(5, 1, 1), batches.of_epoch(5, 1, 3));
        assert_eq!(first, batches.of_epoch(5, 1, 1));
        assert_ne!(first, again);
        assert_eq!(sorted(first.clone()), sorted(again));
        assert_ne!(sorted(first.clone()), sorted(batches.of_epoch(5, 2, 1)));
        assert_ne!(sorted(first), sorted(batches.of_epoch(6, 1, 1)));
    }

    #[test]
    fn nothing() {
        assert!(
            Batches::new(vec![], LIMIT, Crop::None)
                .in_order()
                .is_empty()
        );
    }
}
