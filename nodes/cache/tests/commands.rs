//! The commands on a cache.
use super::*;

#[test]
fn remove_touches_nothing_else() {
    let cache = TestCache::new("remove");
    let root = &cache.root;
    fs::create_dir_all(root.join("0123456789abcdef")).unwrap();
    fs::write(root.join("letter"), "dear").unwrap();
    let error = tools::remove(root).unwrap_err().to_string();
    assert!(error.contains("not a cache"));
    cache.serve(&fake(&[1]), &[1]);
    assert_eq!(tools::remove(root).unwrap().len(), 1);
    assert!(cache.files("json").is_empty());
    assert!(root.join("letter").exists());
    assert!(tools::list(root).is_err());
}

#[test]
fn a_path_may_be_one_fingerprint() {
    let cache = TestCache::new("one-fingerprint");
    cache.serve(&fake(&[1]), &[1]);
    let fingerprint = cache.files("fingerprint.json").remove(0);
    let folder = fingerprint.parent().unwrap();
    let listings = tools::list(&cache.root).unwrap();
    assert_eq!(tools::list(folder).unwrap(), listings);
    assert_eq!(tools::remove(folder).unwrap(), [folder]);
}
