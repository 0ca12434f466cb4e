//! The ranks of a run share a cache while it goes on.
use super::*;
use compute::ranks::{Ranks, Transport};

/// One of two ranks, which are never called here.
struct Second;

impl Transport for Second {
    fn rank(&self) -> usize {
        1
    }
    fn count(&self) -> usize {
        2
    }
    fn gather(&self, _: &str, message: &[u8], _: bool) -> Vec<Vec<u8>> {
        vec![message.to_vec(); 2]
    }
    fn swap(&self, _: &[f32], _: &mut [f32]) {}
    fn join(&self, _: &[f32], _: &mut [f32]) {}
}

#[test]
fn rows_of_another_rank_are_found_in_the_same_phase() {
    let cache = TestCache::new("ranks");
    let context = NodeContext::alone("teacher", cache.lines.clone(), |run| {
        run.folder = cache.root.clone();
        run.ranks = Arc::new(Ranks::new(Box::new(Second)));
    });
    let open = |config: &FakeConfig| {
        let config = Arc::new(config.clone());
        wrap(config, Some(&cache.root), &CodecOption::F32, true, &context).unwrap()
    };
    let config = fake(&[2]);
    let mut rank = open(&config);
    cache.check(&mut *rank, &config, &[1]);
    let other = fake(&[2]);
    cache.run(&mut *open(&other), &[3, 4], true);
    cache.check(&mut *rank, &config, &[1, 3, 5, 4]);
    assert_eq!(*config.record.lock().unwrap(), served([&[2]], 2));
    rank.leave().unwrap();
    assert_eq!(cache.serve(&fake(&[2]), &[1, 3, 4, 5]), served([], 0));
    assert!(cache.lines.take().is_empty());
}
