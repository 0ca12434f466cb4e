//! A hash of each manifest, so that a run is resumed only with the data it was begun with.
use crate::graph::plan::Plan;
use nodes::data::manifest::segments;
use nodes::data::{folder_tree, regular};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Returns BLAKE3 of each manifest of the graph, by its path as written; `None` where it cannot be
/// read.
pub fn hashes(plan: &Plan) -> BTreeMap<String, Option<String>> {
    let mut hashes = BTreeMap::new();
    for phase in &plan.phases {
        let source = phase.source().settings();
        for path in [Some(source.manifest), source.dev].into_iter().flatten() {
            let hash = hash(Path::new(&path)).ok();
            hashes.insert(path, hash);
        }
    }
    hashes
}

/// Hashes a manifest: a file's bytes (with those of Kaldi's `segments` beside it), or the sorted
/// paths and sizes of the files below a folder.
pub fn hash(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    if path.is_dir() {
        let mut files = vec![];
        for file in folder_tree::list(path, true)?.files {
            let size = std::fs::metadata(&file)?.len();
            files.push((file, size));
        }
        files.sort();
        for (file, size) in files {
            let name = file.strip_prefix(path).unwrap_or(&file).to_string_lossy();
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(&size.to_le_bytes());
        }
    } else {
        for file in [path].into_iter().chain(segments(path).as_deref()) {
            hasher.update_reader(regular::open(file)?)?;
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}
