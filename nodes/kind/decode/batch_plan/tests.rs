//! Which rows share a batch.
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
    BatchPlan::new(sizes().into_iter().collect(), Filling::Samples(LIMIT), crop)
}

fn rows(batches: &OrderedBatches) -> Vec<Vec<usize>> {
    let rows = |batch: &[u32]| batch.iter().map(|&row| row as usize).collect();
    batches.iter().map(rows).collect()
}

fn of_epoch(plan: &BatchPlan, seed: u64, view: u64, epoch: u64) -> Vec<Vec<usize>> {
    rows(&plan.of_epoch(Order::default(), seed, view, epoch))
}

#[test]
fn every_row_once_and_limits_kept() {
    let sizes = sizes();
    let plan = plan(Crop::None);
    let in_order = rows(&plan.in_order());
    let epochs = [of_epoch(&plan, 5, 2, 2), of_epoch(&plan, 5, 2, 7)];
    for batches in epochs.iter().chain([&in_order]) {
        assert_eq!(batches.len(), in_order.len());
        let mut all = batches.concat();
        all.sort();
        assert_eq!(all, (0..ROWS).collect::<Vec<_>>());
        for batch in batches {
            let longest = batch.iter().map(|&row| sizes[row]).max().unwrap();
            assert!(batch.len() as u64 * longest <= LIMIT || batch.len() == 1);
            assert!(batch.iter().all(|&row| sizes[row] >= sizes[batch[0]]));
        }
    }
}

/// The order of versions before rows were sorted by halves of draws.
#[test]
fn rows_of_a_size_are_in_the_order_of_their_draws() {
    let sizes = sizes();
    let plan = plan(Crop::None);
    let mates = Key::new(5, &["batches"]);
    let mut expected: Vec<usize> = (0..ROWS).collect();
    expected.sort_by_key(|&row| (sizes[row], mates.draw(2, row as u64), row));
    let batches = plan.of_epoch(Order::default(), 5, 2, 7);
    let found: Vec<usize> = batches.rows.iter().map(|&row| row as usize).collect();
    assert_eq!(found, expected);
    let mut tied: Vec<u32> = (0..40).rev().collect();
    sort_by_draw(&mut tied, |row| [1, 1, row % 3, 0]);
    let mut expected: Vec<u32> = (0..40).collect();
    expected.sort_by_key(|row| (row % 3, *row));
    assert_eq!(tied, expected);
}

#[test]
fn batches_are_full() {
    let sizes = sizes();
    for pair in rows(&plan(Crop::None).in_order()).windows(2) {
        assert!((pair[0].len() as u64 + 1) * sizes[pair[1][0]] > LIMIT);
    }
}

#[test]
fn batches_of_rows_are_drawn_anew_in_each_epoch() {
    let sizes = sizes();
    let lengths = sizes.iter().copied().collect();
    let plan = BatchPlan::new(lengths, Filling::Rows(32), Crop::None);
    let epochs = [of_epoch(&plan, 5, 0, 0), of_epoch(&plan, 5, 0, 1)];
    for batches in epochs.iter().chain([&rows(&plan.in_order())]) {
        let lengths: Vec<usize> = batches.iter().map(Vec::len).collect();
        assert_eq!(lengths[..15], [32; 15]);
        assert_eq!(lengths[15..], [20]);
        let mut all = batches.concat();
        all.sort();
        assert_eq!(all, (0..ROWS).collect::<Vec<_>>());
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
    assert_eq!(of_epoch(&plan, 5, 0, 0), epochs[0]);
    assert_ne!(of_epoch(&plan, 6, 0, 0), epochs[0]);
}

#[test]
fn a_batch_has_one_bucket() {
    let plan = plan(Crop::Bucket);
    let batches = plan.of_epoch(Order::default(), 5, 0, 0);
    let kept: Vec<Vec<u64>> = batches
        .iter()
        .map(|batch| plan.kept(batch).collect())
        .collect();
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
    let first = of_epoch(&plan, 5, 1, 1);
    let again = of_epoch(&plan, 5, 1, 3);
    assert_eq!(first, of_epoch(&plan, 5, 1, 1));
    assert_ne!(first, again);
    assert_eq!(sorted(first.clone()), sorted(again));
    assert_ne!(sorted(first.clone()), sorted(of_epoch(&plan, 5, 2, 1)));
    assert_ne!(sorted(first), sorted(of_epoch(&plan, 6, 1, 1)));
}

#[test]
fn no_rows_are_no_batches() {
    for filling in [Filling::Samples(LIMIT), Filling::Rows(3)] {
        let plan = BatchPlan::new(Lengths::default(), filling, Crop::None);
        assert_eq!(plan.in_order().len(), 0);
    }
}
