//! Folders that cannot be used, and files of killed processes.
use super::*;

#[test]
fn a_file_in_place_of_a_folder() {
    let cache = TestCache::new("folders");
    fs::write(&cache.root, "a file").unwrap();
    let error = cache.open_error(fake(&[1]));
    assert!(error.starts_with(&*cache.root.to_string_lossy()));
    fs::remove_file(&cache.root).unwrap();
    cache.serve(&fake(&[1]), &[1]);
    let layer = cache.layer_folder();
    fs::remove_dir_all(&layer).unwrap();
    fs::write(&layer, "a file").unwrap();
    let error = cache.open_error(fake(&[1]));
    assert!(error.starts_with(&*layer.to_string_lossy()));
    fs::remove_file(&layer).unwrap();
    fs::create_dir_all(layer.join("part-0123456789abcdef.parquet")).unwrap();
    assert_eq!(cache.serve(&fake(&[1]), &[1]).rows, 1);
    assert_eq!(cache.lines.take().len(), 1);
}

/// Puts a folder in the way of fingerprint.json, so that the cache cannot be written, not even by
/// root.
fn make_unwritable(cache: &TestCache) -> PathBuf {
    let fingerprint = cache.files("fingerprint.json").remove(0);
    fs::remove_file(&fingerprint).unwrap();
    fs::create_dir_all(fingerprint.join("in the way")).unwrap();
    fingerprint
}

#[test]
fn a_cache_that_cannot_be_written_serves_and_says_so_once() {
    let cache = TestCache::new("read-only");
    cache.serve(&fake(&[1]), &[1]);
    let fingerprint = make_unwritable(&cache);
    let config = fake(&[1]);
    assert_eq!(cache.serve(&config, &[1]), served([], 0));
    assert!(cache.lines.take().is_empty(), "a full hit needs no writing");
    let mut node = cache.open(&config);
    for ids in [&[9, 1][..], &[9], &[2, 9]] {
        cache.check(&mut *node, &config, ids);
    }
    node.leave().unwrap();
    assert_eq!(
        config.record.lock().unwrap().rows,
        4,
        "a computed row is not kept"
    );
    let lines = cache.lines.take();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains(&*fingerprint.to_string_lossy()),
        "{lines:?}"
    );
    assert_eq!(cache.files("parquet").len(), 1);
}

/// A disk may also be full in the middle of a run.
#[test]
fn a_cache_that_is_no_longer_writable_keeps_serving() {
    let cache = TestCache::new("full-disk");
    let config = fake(&[1]);
    let mut node = cache.open(&config);
    cache.run(&mut *node, &[1], true);
    make_unwritable(&cache);
    cache.run(&mut *node, &[2], true);
    assert_eq!(cache.lines.take().len(), 1);
    cache.check(&mut *node, &config, &[1, 2, 3]);
    node.leave().unwrap();
    assert!(cache.lines.take().is_empty());
}

#[test]
fn a_node_that_only_fills_its_cache_fails_before_a_row_is_computed() {
    let cache = TestCache::new("fill-only");
    cache.serve(&fake(&[1]), &[1]);
    let fingerprint = make_unwritable(&cache);
    let config = fake(&[1]);
    let context = cache.context();
    let mut node = wrap(
        Arc::new(config.clone()),
        Some(&cache.root),
        &CodecOption::F32,
        false,
        &context,
    )
    .unwrap();
    let result = run_step(&mut *node, &context, &[9], false, "targets");
    let error = result.unwrap_err().to_string();
    assert!(error.contains(&*fingerprint.to_string_lossy()), "{error}");
    assert_eq!(config.record.lock().unwrap().rows, 0);
}

/// Somebody may remove fingerprint.json, or the whole cache, while a run fills it.
#[test]
fn a_lost_fingerprint_is_written_again() {
    let cache = TestCache::new("lost");
    let mut node = cache.open(&fake(&[1]));
    cache.run(&mut *node, &[1], true);
    tools::remove(&cache.root).unwrap();
    cache.run(&mut *node, &[2], true);
    assert_eq!(tools::list(&cache.root).unwrap()[0].rows, 1);
    fs::remove_file(cache.files("fingerprint.json").remove(0)).unwrap();
    assert_eq!(cache.serve(&fake(&[1]), &[2]), served([], 0));
    assert_eq!(tools::verify(&cache.root).unwrap(), vec![]);
}

#[test]
fn temporary_files_of_dead_processes_are_removed() {
    let cache = TestCache::new("leftovers");
    cache.serve(&fake(&[1]), &[1]);
    let layer = cache.layer_folder();
    let mark = ".tmp-0123456789abcdef";
    let dead = [
        layer.join(format!("part-0123456789abcdef.parquet{mark}")),
        layer.join(format!("../fingerprint.json{mark}")),
        cache.root.join(format!("files.json{mark}")),
    ];
    let kept = [
        layer.join("part-0123456789abcdef.parquet.tmp4194999"),
        layer.join(format!("notes.txt{mark}")),
        cache.root.join(format!("mine{mark}")),
        cache
            .root
            .join(format!("part-0123456789abcdef.parquet{mark}")),
    ];
    for path in dead.iter().chain(&kept) {
        fs::write(path, "").unwrap();
    }
    cache.open(&fake(&[1]));
    assert!(dead.iter().all(|path| !path.exists()));
    assert!(kept.iter().all(|path| path.exists()));
}
