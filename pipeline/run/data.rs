//! What a run's data is: a hash of each manifest, so that a run goes on only with the data it began with.
use crate::graph::plan::Plan;
use nodes::data::manifest::segments;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// BLAKE3 of each manifest of the graph, by its path as written; None where it cannot be read.
pub fn hashes(plan: &Plan) -> BTreeMap<String, Option<String>> {
    let sources = plan.phases.iter().map(|p| p.source());
    let manifests = sources
        .flat_map(|s| [Some(s.manifest.clone()), s.dev.clone()])
        .flatten();
    manifests
        .map(|path| (path.clone(), hash(Path::new(&path)).ok()))
        .collect()
}

/// Of a file its bytes (with those of Kaldi's `segments` beside it), of a folder the sorted paths and sizes of the files below it.
pub fn hash(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    if path.is_dir() {
        let mut files = vec![];
        below(path, &mut files)?;
        files.sort();
        for (file, size) in files {
            let name = file
                .strip_prefix(path)
                .unwrap_or(&file)
                .to_string_lossy()
                .into_owned();
            hasher
                .update(&(name.len() as u64).to_le_bytes())
                .update(name.as_bytes())
                .update(&size.to_le_bytes());
        }
    } else {
        for file in [path].into_iter().chain(segments(path).as_deref()) {
            hasher.update_reader(std::fs::File::open(file)?)?;
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn below(folder: &Path, files: &mut Vec<(PathBuf, u64)>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let about = std::fs::metadata(&path)?;
        if about.is_dir() {
            below(&path, files)?;
        } else {
            files.push((path, about.len()));
        }
    }
    Ok(())
}
