//! The files of a model folder that hold its tensors: model.safetensors, or the shards that
//! model.safetensors.index.json names.
use super::Architecture;
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::file::{self, Tensors};
use crate::data::read_files::ReadFiles;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// A tensor that every encoder has: what precedes this name precedes the others too.
const ANCHOR: &str = "feature_extractor.conv_layers.0.conv.weight";

/// The index of a sharded checkpoint, as transformers writes it.
#[derive(Deserialize)]
struct Index {
    /// The file of each tensor.
    weight_map: BTreeMap<String, String>,
}

/// Where the tensors of a model are.
pub(super) enum WeightFiles {
    Whole(PathBuf),
    Shards {
        index: PathBuf,
        /// The names of the tensors in each file.
        shards: BTreeMap<PathBuf, BTreeSet<String>>,
    },
}

impl WeightFiles {
    /// Finds the files of a folder; model.safetensors comes first, as in transformers.
    pub(super) fn find(folder: &Path, read: &mut ReadFiles) -> Result<WeightFiles> {
        let whole = folder.join(WHOLE);
        if whole.exists() {
            return Ok(WeightFiles::Whole(whole));
        }
        let index = folder.join(INDEX);
        if !index.exists() {
            let message = "is not there; convert the checkpoint to safetensors \
                           (`model.save_pretrained(folder)` in transformers)";
            return Err(error_at(&whole, message));
        }
        let text = read.text(&index)?;
        let parsed: Index = serde_json::from_str(&text).at(&index)?;
        let mut shards: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
        for (tensor, name) in parsed.weight_map {
            if Path::new(&name).file_name() != Some(name.as_ref()) {
                let message = format!("`{tensor}` is in `{name}`, which is no file of this folder");
                return Err(error_at(&index, message));
            }
            shards.entry(folder.join(name)).or_default().insert(tensor);
        }
        Ok(WeightFiles::Shards { index, shards })
    }

    /// Returns the file that messages about tensors name.
    pub(super) fn path(&self) -> &Path {
        match self {
            WeightFiles::Whole(path) => path,
            WeightFiles::Shards { index, .. } => index,
        }
    }

    /// Returns the names of all tensors, without reading any.
    fn names(&self) -> Result<BTreeSet<String>> {
        match self {
            WeightFiles::Whole(path) => Ok(file::tensor_names(path)?.into_iter().collect()),
            WeightFiles::Shards { shards, .. } => Ok(shards.values().flatten().cloned().collect()),
        }
    }

    /// Reads all tensors.
    pub(super) fn load(&self, read: &mut ReadFiles) -> Result<Tensors> {
        match self {
            WeightFiles::Whole(path) => read_tensors(path, read),
            WeightFiles::Shards { index, shards } => {
                let mut all = Tensors::none(index);
                for (path, names) in shards {
                    let mut shard = read_tensors(path, read)?;
                    shard.retain(|name| names.contains(name));
                    all.append(shard);
                }
                Ok(all)
            }
        }
    }
}

fn read_tensors(path: &Path, read: &mut ReadFiles) -> Result<Tensors> {
    let (tensors, hash) = Tensors::read_and_hash(path)?;
    read.insert(path, hash);
    Ok(tensors)
}

/// Returns the paths of the files that hold the tensors of a folder, whether they exist or not.
pub fn weight_paths(folder: &Path) -> Vec<PathBuf> {
    match WeightFiles::find(folder, &mut ReadFiles::default()) {
        Ok(WeightFiles::Shards { index, shards }) => {
            [index].into_iter().chain(shards.into_keys()).collect()
        }
        Ok(WeightFiles::Whole(path)) => vec![path],
        Err(_) if folder.join(INDEX).exists() => vec![folder.join(INDEX)],
        Err(_) => vec![folder.join(WHOLE)],
    }
}

/// Whether the tensors of a folder can be listed, and none of them is called `name` behind the
/// encoder's prefix.
pub(super) fn lacks(folder: &Path, architecture: &Architecture, name: &str) -> bool {
    let files = WeightFiles::find(folder, &mut ReadFiles::default());
    let Ok(names) = files.and_then(|files| files.names()) else {
        return false;
    };
    let is_listed = |name: &str| names.contains(name);
    match prefix(names.iter().map(String::as_str), architecture) {
        Ok(prefix) => {
            is_listed(&format!("{prefix}{ANCHOR}")) && !is_listed(&format!("{prefix}{name}"))
        }
        Err(_) => false,
    }
}

/// Returns what the names of the encoder's tensors begin with, such as `model.hubert.`: what stands
/// before a tensor that every encoder has.
///
/// # Errors
/// There are several encoders, and none of them has more of the architecture's tensors than the
/// others.
pub(super) fn prefix<'a>(
    names: impl Iterator<Item = &'a str>,
    architecture: &Architecture,
) -> Result<String, String> {
    let names: BTreeSet<&str> = names.collect();
    let mut prefixes: Vec<&str> = vec![];
    for name in &names {
        let before = name.strip_suffix(ANCHOR);
        prefixes.extend(before.filter(|p| p.is_empty() || p.ends_with('.')));
    }
    if prefixes.len() < 2 {
        return Ok(prefixes.concat());
    }
    let expected = architecture.tensors();
    let count = |prefix: &str| {
        let found = expected
            .iter()
            .filter(|(name, _)| names.contains(format!("{prefix}{name}").as_str()));
        found.count()
    };
    prefixes.sort_by_key(|prefix| std::cmp::Reverse(count(prefix)));
    if count(prefixes[0]) == count(prefixes[1]) {
        return Err(format!(
            "holds several encoders, one below `{}` and one below `{}`; keep one of them",
            prefixes[0], prefixes[1]
        ));
    }
    Ok(prefixes[0].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(prefixes: &[&str]) -> Result<String, String> {
        let architecture = Architecture::default();
        let mut names = vec!["lm_head.weight".to_owned(), "step".to_owned()];
        for prefix in prefixes {
            let tensors = architecture.tensors().into_iter();
            names.extend(tensors.map(|(name, _)| format!("{prefix}{name}")));
        }
        prefix(names.iter().map(String::as_str), &architecture)
    }

    #[test]
    fn a_prefix_is_found_by_what_it_holds() {
        for prefix in ["", "hubert.", "model.hubert.", "module.encoder.w2v_model."] {
            assert_eq!(find(&[prefix]), Ok(prefix.to_owned()));
        }
        assert_eq!(find(&[]), Ok(String::new()));
    }

    #[test]
    fn the_fuller_of_two_encoders_is_read() {
        let error = find(&["ema.", "hubert."]).unwrap_err();
        assert!(error.contains("below `ema.` and one below `hubert.`"));
        let architecture = Architecture::default();
        let mut names = vec![format!("aux.{ANCHOR}")];
        let tensors = architecture.tensors().into_iter();
        names.extend(tensors.map(|(name, _)| format!("hubert.{name}")));
        let found = prefix(names.iter().map(String::as_str), &architecture);
        assert_eq!(found, Ok("hubert.".to_owned()));
    }
}
