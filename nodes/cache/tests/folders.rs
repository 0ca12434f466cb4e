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

#[test]
fn a_folder_that_cannot_be_written_fails_before_a_row_is_computed() {
    let cache = TestCache::new("read-only");
    cache.serve(&fake(&[1]), &[1]);
    let fingerprint = cache.files("fingerprint.json").remove(0);
    fs::remove_file(&fingerprint).unwrap();
    fs::create_dir_all(fingerprint.join("in the way")).unwrap();
    let config = fake(&[1]);
    let mut node = cache.open(&config);
    let result = run_step(&mut *node, &cache.context(), &[9], false, "targets");
    let error = result.unwrap_err().to_string();
    assert!(
        error.starts_with(&*fingerprint.to_string_lossy()),
        "{error}"
    );
    assert!(config.record.lock().unwrap().built.is_empty());
}

#[test]
fn temporary_files_of_dead_processes_are_removed() {
    let cache = TestCache::new("leftovers");
    cache.serve(&fake(&[1]), &[1]);
    let layer = cache.layer_folder();
    let dead = [
        layer.join("part-0.parquet.tmp4194999"),
        cache.root.join("files.json.tmp4194999"),
    ];
    let kept = [
        layer.join("part-0.parquet.tmp1"),
        cache.root.join("mine.tmp4194999"),
    ];
    for path in dead.iter().chain(&kept) {
        fs::write(path, "").unwrap();
    }
    cache.open(&fake(&[1]));
    assert!(dead.iter().all(|path| !path.exists()));
    assert!(kept.iter().all(|path| path.exists()));
}
