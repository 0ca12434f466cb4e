//! Rows are those of the model that the node names, whatever happens to its files.
use super::*;
use std::time::SystemTime;

#[test]
fn a_model_has_a_cache_of_its_own_and_is_hashed_once() {
    let cache = TestCache::new("model");
    let config = cache.with_model(&[1], "one");
    let model = config.model;
    assert_eq!(cache.serve(&config, &[4]).rows, 1);
    assert_eq!(cache.serve(&fake(&[1]), &[4]).rows, 1);
    assert_eq!(tools::list(&cache.root).unwrap().len(), 2);
    let hashes = cache.root.join("files.json");
    let json = fs::read_to_string(&hashes).unwrap();
    let hash = blake3::hash(b"one").to_hex();
    // A remembered hash is trusted as long as all rows are stored; a row that misses loads the
    // model, whose bytes have the last word.
    fs::write(&hashes, json.replace(&hash[..], "another")).unwrap();
    assert_eq!(cache.serve(&config, &[4]).rows, 0);
    assert_eq!(tools::list(&cache.root).unwrap().len(), 2);
    // A file of hashes that cannot be read is written again.
    fs::write(&hashes, &json[..json.len() / 2]).unwrap();
    assert_eq!(cache.serve(&config, &[4]).rows, 0);
    assert_eq!(fs::read_to_string(&hashes).unwrap(), json);
    fs::write(model, "three").unwrap();
    assert_eq!(cache.serve(&config, &[4]).rows, 1);
    fs::remove_file(model).unwrap();
    let error = cache.open_error(config);
    assert!(error.starts_with(model), "{error}");
}

/// A file that is replaced or written at equal size and mtime is another model.
#[test]
fn a_model_replaced_at_equal_size_and_time() {
    let cache = TestCache::new("replaced");
    let config = cache.with_model(&[1], "one");
    let mtime = SystemTime::UNIX_EPOCH;
    let set_mtime = || {
        let file = fs::File::options().write(true).open(config.model).unwrap();
        file.set_modified(mtime).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(150));
    };
    set_mtime();
    assert_eq!(cache.serve(&config, &[4]).rows, 1);
    assert_eq!(cache.serve(&config, &[4]).rows, 0);
    fs::write(config.model, "two").unwrap();
    set_mtime();
    assert_eq!(cache.serve(&config, &[4]).rows, 1);
    let other = cache.root.join("other");
    fs::write(&other, "six").unwrap();
    fs::rename(other, config.model).unwrap();
    set_mtime();
    assert_eq!(cache.serve(&config, &[4]).rows, 1);
}

/// A hash of a file that has just changed is not remembered: it may change again unseen.
#[test]
fn a_fresh_file_is_hashed_again() {
    let cache = TestCache::new("fresh");
    let config = cache.with_model(&[1], "one");
    fs::write(config.model, "one").unwrap();
    cache.open(&config);
    assert!(!cache.root.join("files.json").exists());
}

#[test]
fn rows_are_stored_under_the_hash_of_what_was_loaded() {
    let cache = TestCache::new("swapped");
    let mut config = cache.with_model(&[1], "one");
    config.swaps = &["two"];
    assert_eq!(cache.serve(&config, &[4, 5]), served([&[1]], 2));
    assert_eq!(cache.files("fingerprint.json").len(), 1);
    config.swaps = &[];
    assert_eq!(cache.serve(&config, &[4, 5]), served([], 0));
    fs::write(config.model, "one").unwrap();
    assert_eq!(cache.serve(&config, &[4]).rows, 1);
    assert_eq!(tools::verify(&cache.root).unwrap(), vec![]);
}

/// The model that comes instead may have rows in the cache already, of some layers.
#[test]
fn rows_of_the_loaded_model_are_found() {
    let cache = TestCache::new("found");
    let mut config = cache.with_model(&[1], "two");
    assert_eq!(cache.serve(&config, &[4]).rows, 1);
    fs::write(config.model, "one").unwrap();
    config.layers = vec![1, 2];
    config.swaps = &["two"];
    assert_eq!(cache.serve(&config, &[4]), served([&[1, 2]], 1));
    config.swaps = &[];
    assert_eq!(cache.serve(&config, &[4]), served([], 0));
}

#[test]
fn rows_of_two_models_do_not_meet_in_a_run() {
    let cache = TestCache::new("mixed");
    let mut config = cache.with_model(&[1], "one");
    assert_eq!(cache.serve(&config, &[4]).rows, 1);
    config.swaps = &["two"];
    let mut node = cache.open(&config);
    cache.check(&mut *node, &config, &[4]);
    let result = run_step(&mut *node, &cache.context(), &[5], false, "targets");
    let error = result.unwrap_err().to_string();
    assert!(
        error.starts_with("the model's files have changed during the run"),
        "{error}"
    );
}
