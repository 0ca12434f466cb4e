//! What is computed, what is stored, and when.
use super::*;

#[test]
fn empty_then_full() {
    let cache = TestCache::new("full");
    let config = fake(&[3, 0]);
    assert_eq!(cache.serve(&config, &[5, 0, 2, 5]), served([&[3, 0]], 4));
    assert_eq!(cache.serve(&config, &[2, 5, 0]), served([], 0));
    assert_eq!(cache.files("parquet").len(), 2);
    assert_eq!(cache.serve(&config, &[]), served([], 0));
    let path = cache.files("fingerprint.json").remove(0);
    let json = fs::read_to_string(&path).unwrap();
    let expected = r#"{"codec":"f32","format":1,"kind":"fake","model":""}"#;
    assert_eq!(json, expected);
    let hash = blake3::hash(json.as_bytes()).to_hex();
    assert!(path.parent().unwrap().ends_with(&hash[..16]));
    assert!(cache.lines.take().is_empty());
}

#[test]
fn an_empty_batch_writes_nothing() {
    let cache = TestCache::new("empty");
    assert_eq!(cache.serve(&fake(&[1]), &[]), served([], 0));
    assert!(!cache.root.exists());
}

#[test]
fn only_what_is_missing_is_computed_and_stored() {
    let cache = TestCache::new("half");
    assert_eq!(cache.serve(&fake(&[4]), &[1, 2]), served([&[4]], 2));
    assert_eq!(cache.serve(&fake(&[4]), &[1, 3, 2]), served([&[4]], 1));
    let config = fake(&[0, 4, 7]);
    assert_eq!(cache.serve(&config, &[3, 2]), served([&[0, 7]], 2));
    // Row 1 misses layers 0 and 7, row 6 misses all: the node is built once more, for all three.
    let mut node = cache.open(&config);
    for ids in [&[1, 2][..], &[6, 3], &[6, 1, 2, 3, 0]] {
        cache.check(&mut *node, &config, ids);
    }
    node.leave().unwrap();
    drop(std::mem::take(&mut *config.record.lock().unwrap()));
    assert_eq!(cache.serve(&config, &[0, 1, 2, 3, 6]), served([], 0));
    let listing = tools::list(&cache.root).unwrap().remove(0);
    assert_eq!(listing.layers, [0, 4, 7]);
    assert_eq!(listing.rows, 5);
    assert_eq!(listing.frames, 12);
    let parts = |layer: &str| {
        let paths = cache.files("parquet").into_iter();
        paths
            .filter(|path| path.parent().unwrap().ends_with(layer))
            .count()
    };
    assert_eq!(parts("layer-00"), 2);
    assert_eq!(parts("layer-04"), 3);
    assert_eq!(parts("layer-07"), 2);
}

#[test]
fn rows_do_not_wait_long_to_be_written() {
    let cache = TestCache::new("long");
    let config = fake(&[4]);
    let context = cache.context();
    let codec = Codec::open(&CodecOption::F32, &context).unwrap();
    let outputs = CachedOutput::open(&config, &codec, &cache.root, &context).unwrap();
    let node = Arc::new(config.clone());
    let mut node = CachedNode::new(node, &context, &cache.root, codec, outputs, true);
    cache.check(&mut node, &config, &[1, 2]);
    assert!(cache.files("parquet").is_empty());
    node.longest_unwritten = Duration::ZERO;
    cache.check(&mut node, &config, &[1, 3]);
    assert_eq!(cache.files("parquet").len(), 1);
    drop(node); // as a process that is killed leaves it
    assert_eq!(cache.serve(&fake(&[4]), &[1, 2, 3]), served([], 0));
}

#[test]
fn rows_are_written_at_checkpoints() {
    let cache = TestCache::new("checkpoint");
    let mut node = cache.open(&fake(&[2]));
    cache.run(&mut *node, &[3, 4], false);
    assert!(cache.files("parquet").is_empty());
    cache.run(&mut *node, &[4, 5], true);
    assert_eq!(cache.files("parquet").len(), 1);
    cache.check(&mut *node, &fake(&[2]), &[5, 3]);
    drop(node); // killed: nothing was left to write
    assert_eq!(cache.serve(&fake(&[2]), &[3, 4, 5]), served([], 0));
}

#[test]
fn two_writers_and_the_first_of_equal_rows() {
    let cache = TestCache::new("writers");
    let mut first = cache.open(&fake(&[1]));
    let mut second = cache.open(&fake(&[1]));
    cache.run(&mut *first, &[2, 3], true);
    cache.run(&mut *second, &[3, 2], true);
    assert_eq!(cache.files("parquet").len(), 2);
    let mut third = cache.open(&fake(&[1]));
    cache.run(&mut *second, &[9], true);
    cache.run(&mut *third, &[9], true); // the same part
    assert_eq!(cache.files("parquet").len(), 3);
    assert_eq!(cache.serve(&fake(&[1]), &[2, 3, 9]), served([], 0));
    assert_eq!(tools::verify(&cache.root).unwrap(), vec![]);
}

#[test]
fn a_part_is_written_when_it_is_large() {
    let cache = TestCache::new("large");
    let mut node = cache.open(&fake(&[1]));
    cache.run(&mut *node, &[1], true);
    let mut store = cache.open_store();
    let large = Entry {
        frames: 1000,
        values: vec![0.5; 1000 * 17_000],
    };
    store
        .put(0, [6; 16], "small", 0, hidden(&samples(1), 1))
        .unwrap();
    store.write_full().unwrap();
    assert_eq!(cache.files("parquet").len(), 1);
    store.put(0, [7; 16], "large", 0, large.clone()).unwrap();
    store.write_full().unwrap();
    assert_eq!(cache.files("parquet").len(), 2);
    assert!(store.find(&[[7; 16]]) == [[Some(large)]]);
}

/// A kind without layers: uncached, and from an empty, half-filled and full cache.
#[test]
fn rows_without_layers() {
    let cache = TestCache::new("rows");
    let options = json!({ "bins": 23, "cepstra": 13, "deltas": 1 });
    let fbank = crate::node::parse::<crate::kind::fbank::Options>(options);
    let fbank: Arc<dyn Config> = fbank.ok().unwrap().into();
    let features = |node: &mut dyn Node, ids: &[usize]| {
        let batch = run_step(node, &cache.context(), ids, false, "features").unwrap();
        node.leave().unwrap();
        batch
    };
    let cases = [
        (&[5, 0, 9][..], 1),
        (&[9, 3, 5, 4], 2),
        (&[3, 4, 0, 5, 9], 2),
        (&[], 2),
    ];
    for (ids, parts) in cases {
        let mut uncached = fbank.build(&cache.context()).unwrap();
        let mut cached = wrap(
            fbank.clone(),
            Some(&cache.root),
            &CodecOption::F32,
            true,
            &cache.context(),
        )
        .unwrap();
        let expected = features(&mut *uncached, ids);
        assert_eq!(features(&mut *cached, ids), expected);
        assert_eq!(cache.files("parquet").len(), parts);
    }
    for path in cache.files("parquet") {
        assert!(path.parent().unwrap().ends_with("rows"));
    }
    let listing = tools::list(&cache.root).unwrap().remove(0);
    assert_eq!(listing.kind.as_deref(), Some("fbank"));
    assert!(listing.layers.is_empty());
    // Rows of 7, 967, 1287, 1607 and 2887 samples.
    assert_eq!(listing.rows, 5);
    assert_eq!(listing.frames, 34);
    assert_eq!(tools::verify(&cache.root).unwrap(), vec![]);
    fs::write(&cache.files("parquet")[0], "damaged").unwrap();
    assert_eq!(tools::verify(&cache.root).unwrap().len(), 1);
    assert_eq!(tools::remove(&cache.root).unwrap().len(), 1);
    assert!(!cache.root.exists());
}

#[test]
fn a_mask_is_part_of_the_key() {
    let key = |masked: &[usize]| {
        let mask = [0, 1, 2].map(|t| masked.contains(&t));
        row_key(&samples(3), &mask)
    };
    assert_eq!(key(&[0]), key(&[0]));
    assert_ne!(key(&[0]), key(&[1]));
    assert_ne!(key(&[]), row_key(&samples(3), &[]));
    let floats: Vec<u8> = samples(3).iter().flat_map(|x| x.to_le_bytes()).collect();
    let bytes = [&967u64.to_le_bytes()[..], &floats, &[0, 1, 0]].concat();
    assert_eq!(key(&[1]), blake3::hash(&bytes).as_bytes()[..16]);
}
