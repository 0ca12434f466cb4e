//! Merging: each row once, small parts joined, and nothing lost wherever it stops.
use super::*;
use merge::{Merged, merge};

/// Fills a cache by two writers that see nothing of each other, and returns its parts.
fn doubled(cache: &TestCache) -> Vec<PathBuf> {
    let mut writers = [cache.open(&fake(&[1])), cache.open(&fake(&[1]))];
    for (writer, ids) in [(0, &[2, 3][..]), (1, &[3, 4]), (0, &[5]), (1, &[5, 2])] {
        cache.run(&mut *writers[writer], ids, true);
    }
    cache.files("parquet")
}

#[test]
fn each_row_stands_once_and_small_parts_are_joined() {
    let cache = TestCache::new("merge");
    let parts = doubled(&cache);
    assert_eq!(parts.len(), 4);
    let rows = [2, 3, 4, 5];
    let merged = merge(&cache.root).unwrap();
    let expected = Merged {
        doubled: 3,
        removed: 4,
        written: 1,
        unreadable: vec![],
    };
    assert_eq!(merged, expected);
    let part = cache.files("parquet");
    assert_eq!(part.len(), 1);
    assert_eq!(part::identities(&part[0]).unwrap().len(), rows.len());
    assert_eq!(cache.serve(&fake(&[1]), &rows), served([], 0));
    assert_eq!(tools::verify(&cache.root).unwrap(), vec![]);
    assert_eq!(merge(&cache.root).unwrap(), Merged::default());
    // One fingerprint's folder, with a part more.
    cache.serve(&fake(&[1]), &[7]);
    let folder = part[0].parent().unwrap().parent().unwrap();
    assert_eq!(merge(folder).unwrap().removed, 2);
    assert!(cache.lines.take().is_empty());
}

/// Killed after the new parts are written and before the old ones are removed.
#[test]
fn a_merge_that_was_killed_is_done_again() {
    let cache = TestCache::new("killed-merge");
    let parts = doubled(&cache);
    let old: Vec<Vec<u8>> = parts.iter().map(|part| fs::read(part).unwrap()).collect();
    merge(&cache.root).unwrap();
    let merged = cache.files("parquet");
    for kept in 0..parts.len() {
        for (part, bytes) in parts.iter().zip(&old).skip(kept) {
            fs::write(part, bytes).unwrap();
        }
        assert_eq!(cache.serve(&fake(&[1]), &[2, 3, 4, 5]), served([], 0));
        merge(&cache.root).unwrap();
        let again = cache.files("parquet");
        assert_eq!(again.len(), 1);
        let rows = |part: &Path| part::identities(part).unwrap().len();
        assert_eq!(rows(&again[0]), rows(&merged[0]));
    }
}

/// A run that has indexed parts before they were merged finds their rows in the merged one.
#[test]
fn a_reader_goes_on_while_parts_are_merged() {
    let cache = TestCache::new("merge-reader");
    doubled(&cache);
    let config = fake(&[1]);
    let mut reader = cache.open(&config);
    cache.check(&mut *reader, &config, &[4]);
    merge(&cache.root).unwrap();
    cache.check(&mut *reader, &config, &[2, 3, 4, 5]);
    assert_eq!(config.record.lock().unwrap().rows, 0);
    assert!(cache.lines.take().is_empty());
}

#[test]
fn damaged_parts_are_left_and_a_second_merge_is_refused() {
    let cache = TestCache::new("merge-damaged");
    let parts = doubled(&cache);
    let mut bytes = fs::read(&parts[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&parts[0], &bytes).unwrap();
    let merged = merge(&cache.root).unwrap();
    assert_eq!(merged.unreadable.len(), 1);
    assert_eq!(merged.unreadable[0].path, parts[0]);
    assert_eq!(fs::read(&parts[0]).unwrap(), bytes);
    let folder = cache.files("fingerprint.json").remove(0);
    let lock = fs::File::open(folder.parent().unwrap().join("merging.lock")).unwrap();
    lock.lock().unwrap();
    let error = merge(&cache.root).unwrap_err().to_string();
    assert!(
        error.ends_with("another process merges it; run again later"),
        "{error}"
    );
    lock.unlock().unwrap();
    // A fingerprint that cannot be read does not keep the other folders from being merged.
    fs::write(&folder, b"\xff").unwrap();
    let merged = merge(&cache.root).unwrap();
    assert_eq!(merged.unreadable.len(), 1);
    assert_eq!(merged.unreadable[0].path, folder.parent().unwrap());
}
