//! Logits beside layers: a fingerprint of their own, and one pass for what a row misses of both.
use super::*;

/// Runs a step of a node whose `ports` are read, and checks each bit of what it sends.
fn serve(cache: &TestCache, layers: &[usize], ports: &[&'static str], ids: &[usize]) -> Served {
    let config = FakeConfig {
        has_logits: true,
        ..fake(layers)
    };
    let mut context = cache.context();
    context.read_outputs = ports.iter().copied().collect();
    let mut node = wrap(
        Arc::new(config.clone()),
        Some(&cache.root),
        &CodecOption::F32,
        true,
        &context,
    )
    .unwrap();
    let inputs = HashMap::from([("speech".to_owned(), vec![Value::Batch(rows(ids))])]);
    let info = StepInfo::default();
    let mut step = Step::new(info, &context, Tape::default(), inputs, &mut []);
    node.run(&mut step).unwrap();
    node.leave().unwrap();
    let mut sent = step.into_outputs();
    for (port, layers) in [("targets", layers), ("logits", &[LOGITS_LAYER])] {
        let mut entries = vec![];
        for id in ids {
            entries.push(layers.iter().map(|&l| hidden(&samples(*id), l)).collect());
        }
        let expected = batch_from_entries(&rows(ids), &entries).unwrap();
        match sent.remove(port) {
            Some(value) => assert_eq!(value.batch().unwrap(), expected, "{port}"),
            None => assert!(!ports.contains(&port), "{port}"),
        }
    }
    std::mem::take(&mut *config.record.lock().unwrap())
}

#[test]
fn logits_are_stored_under_a_fingerprint_of_their_own() {
    let cache = TestCache::new("logits");
    let both = ["targets", "logits"];
    let pass = serve(&cache, &[3], &both, &[4, 2]);
    assert_eq!(pass, served([&[3, LOGITS_LAYER]], 2));
    assert_eq!(serve(&cache, &[3], &both, &[2, 4]), served([], 0));
    assert_eq!(serve(&cache, &[3], &["logits"], &[4]), served([], 0));
    let listings = tools::list(&cache.root).unwrap();
    let mut kinds: Vec<_> = listings
        .iter()
        .map(|l| (l.logits, l.layers.clone()))
        .collect();
    kinds.sort();
    assert_eq!(kinds, [(false, vec![3]), (true, vec![])]);
    let in_logits = |path: &&PathBuf| path.parent().unwrap().ends_with("logits");
    assert_eq!(cache.files("parquet").iter().filter(in_logits).count(), 1);
    assert_eq!(tools::verify(&cache.root).unwrap(), vec![]);
    // The layers are those of a node without logits.
    assert_eq!(cache.serve(&fake(&[3]), &[2, 4]), served([], 0));
}

#[test]
fn what_a_row_misses_comes_from_one_pass() {
    let cache = TestCache::new("logits-missing");
    assert_eq!(cache.serve(&fake(&[1]), &[4]), served([&[1]], 1));
    let both = ["targets", "logits"];
    // Row 4 misses its logits, row 5 all.
    let pass = serve(&cache, &[1], &both, &[4, 5]);
    assert_eq!(pass, served([&[1, LOGITS_LAYER]], 2));
    assert_eq!(
        serve(&cache, &[1], &["logits"], &[4, 5, 6]),
        served([&[LOGITS_LAYER]], 1)
    );
    assert_eq!(serve(&cache, &[1], &both, &[4, 5]), served([], 0));
    assert_eq!(serve(&cache, &[1], &both, &[6]), served([&[1]], 1));
}

#[test]
fn a_node_that_nothing_reads_fills_its_first_output() {
    let cache = TestCache::new("logits-unread");
    assert_eq!(serve(&cache, &[1], &[], &[4]), served([&[1]], 1));
    let listing = tools::list(&cache.root).unwrap();
    assert_eq!(listing.len(), 1);
    assert!(!listing[0].logits);
}
