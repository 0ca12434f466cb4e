//! Why rows are missing: another fingerprint, or other rows.
use super::*;
use why::{Comparison, Difference, EntryHits, SampledRows};

fn compare(cache: &TestCache, config: &FakeConfig) -> Comparison {
    let comparisons =
        why::compare(config, &cache.root, &CodecOption::F32, &cache.context()).unwrap();
    comparisons.into_iter().next().unwrap()
}

#[test]
fn rows_are_told_apart_by_layer() {
    let cache = TestCache::new("why-rows");
    assert!(compare(&cache, &fake(&[1])).nearest.is_none());
    assert!(!cache.root.exists());
    cache.serve(&fake(&[1]), &[1, 2]);
    let comparison = compare(&cache, &fake(&[1, 2]));
    assert_eq!(comparison.nearest.as_ref().unwrap().differences, []);
    let mut sampled = SampledRows::new(3);
    sampled
        .add(&Value::Batch(rows(&[2, 3, 1, 4])), None)
        .unwrap();
    let none = EntryHits {
        entry: StoredEntry::Layer(2),
        stored: 0,
        other_content: 0,
        other_length: 0,
        unknown: 3,
        unreadable: 0,
    };
    let first = EntryHits {
        entry: StoredEntry::Layer(1),
        stored: 2,
        unknown: 1,
        ..none
    };
    assert_eq!(comparison.hits(&sampled).unwrap(), [first, none]);
}

#[test]
fn another_model_is_named() {
    let cache = TestCache::new("why-model");
    let first = cache.with_model(&[1], "one");
    cache.serve(&first, &[1]);
    let second = cache.with_model(&[1], "two");
    let comparison = compare(&cache, &second);
    let nearest = comparison.nearest.as_ref().unwrap();
    let json_hash = |text: &str| {
        let hash = blake3::hash(text.as_bytes()).to_hex();
        Some(format!("\"{hash}\""))
    };
    let difference = Difference {
        key: "model".into(),
        stored: json_hash("one"),
        wanted: json_hash("two"),
    };
    assert_eq!(difference.subject(), "another model");
    assert_eq!(nearest.differences, [difference]);
    let mut sampled = SampledRows::new(9);
    sampled.add(&Value::Batch(rows(&[1])), None).unwrap();
    assert_eq!(comparison.hits(&sampled).unwrap()[0].stored, 1);
}
