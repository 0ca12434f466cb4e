//! The files of a model folder that hold its tensors: model.safetensors or pytorch_model.bin, or the
//! shards that model.safetensors.index.json or pytorch_model.bin.index.json names.
use super::Architecture;
use super::stored::{Stored, described};
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::file::{self, Tensors};
use crate::data::read_files::ReadFiles;
use crate::data::torch::{TorchFile, is_torch_file};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A file with all tensors, and the index of shards; the first that is there counts, as in
/// transformers.
const FILES: [(&str, &str); 2] = [
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
];
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
    /// Finds the files of a folder.
    pub(super) fn find(folder: &Path, read: &mut ReadFiles) -> Result<WeightFiles> {
        let Some(index) = find_index(folder) else {
            return match find_whole(folder) {
                Some(whole) => Ok(WeightFiles::Whole(whole)),
                None => Err(error_at(
                    &folder.join(FILES[0].0),
                    "is not there, nor is pytorch_model.bin; a model folder of transformers has \
                     one of them",
                )),
            };
        };
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

    /// Returns the names of all tensors, without reading any.
    fn names(&self) -> Result<BTreeSet<String>> {
        match self {
            WeightFiles::Whole(path) if is_torch_file(path) => {
                let file = TorchFile::open(path)?;
                Ok(described(file.root()).into_keys().collect())
            }
            WeightFiles::Whole(path) => Ok(file::tensor_names(path)?.into_iter().collect()),
            WeightFiles::Shards { shards, .. } => Ok(shards.values().flatten().cloned().collect()),
        }
    }

    /// Opens all files; those of safetensors are read at once.
    pub(super) fn open(&self, read: &mut ReadFiles) -> Result<Stored> {
        match self {
            WeightFiles::Whole(path) => open_tensors(path, read),
            WeightFiles::Shards { index, shards } => {
                let mut stored = Stored::none(index);
                for (path, names) in shards {
                    stored.append(open_tensors(path, read)?, names);
                }
                Ok(stored)
            }
        }
    }
}

/// Returns the index of shards, if no file with all tensors comes before it.
fn find_index(folder: &Path) -> Option<PathBuf> {
    for (whole, index) in FILES {
        if folder.join(whole).exists() {
            return None;
        }
        let index = folder.join(index);
        if index.exists() {
            return Some(index);
        }
    }
    None
}

fn find_whole(folder: &Path) -> Option<PathBuf> {
    let mut paths = FILES.iter().map(|(whole, _)| folder.join(whole));
    paths.find(|path| path.exists())
}

fn open_tensors(path: &Path, read: &mut ReadFiles) -> Result<Stored> {
    if is_torch_file(path) {
        let file = TorchFile::open(path)?;
        read.insert_open(path, file.reopened()?)?;
        let tensors = described(file.root());
        return Ok(Stored::of_torch(file, tensors));
    }
    let (tensors, hash) = Tensors::read_and_hash(path)?;
    read.insert(path, hash);
    Ok(Stored::of_tensors(path, tensors))
}

/// Whether a file is one of safetensors.
pub(super) fn is_safetensors(path: &Path) -> bool {
    file::tensor_names(path).is_ok()
}

/// Returns the paths of the files that hold the tensors of a model, whether they exist or not.
pub fn weight_paths(folder: &Path) -> Vec<PathBuf> {
    if folder.is_file() {
        return vec![folder.to_owned()];
    }
    match WeightFiles::find(folder, &mut ReadFiles::default()) {
        Ok(WeightFiles::Shards { index, shards }) => {
            [index].into_iter().chain(shards.into_keys()).collect()
        }
        Ok(WeightFiles::Whole(path)) => vec![path],
        Err(_) => vec![find_index(folder).unwrap_or_else(|| folder.join(FILES[0].0))],
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
