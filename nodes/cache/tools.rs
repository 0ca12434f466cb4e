//! What a person does with a cache: list, verify, remove. A path is a cache or one fingerprint's folder in it.
use super::fingerprint::{self, Fingerprint};
use super::{layer, part};
use crate::Result;
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What one fingerprint's folder holds.
#[derive(Debug, Serialize, PartialEq)]
pub struct Listing {
    pub folder: PathBuf,
    /// Of the node whose rows these are.
    pub kind: Option<String>,
    /// What the fingerprint says of the model.
    pub model: Option<Json>,
    /// None of a kind without layers.
    pub layers: Vec<usize>,
    /// Rows that have at least one layer.
    pub rows: u64,
    /// Frames of those rows.
    pub frames: u64,
    /// Bytes of all parts.
    pub bytes: u64,
    /// Parts that cannot be read; `verify` says why.
    pub unreadable: usize,
}

/// A file that cannot be used, and why.
#[derive(Debug, Serialize, PartialEq)]
pub struct Damage {
    pub path: PathBuf,
    pub says: String,
}

/// Reads keys and footers, no hidden states.
pub fn list(path: &Path) -> Result<Vec<Listing>> {
    folders(path)?.into_iter().map(listing).collect()
}

/// Hashes every part again and decodes every value; changes nothing.
pub fn verify(path: &Path) -> Result<Vec<Damage>> {
    let mut damages = vec![];
    for folder in folders(path)? {
        let fingerprint = match Fingerprint::read(&folder) {
            Ok(fingerprint) if folder.ends_with(fingerprint.name()) => fingerprint,
            _ => {
                let says = "is not the JSON that its folder is called by".to_owned();
                damages.push(Damage {
                    path: folder.join("fingerprint.json"),
                    says,
                });
                continue;
            }
        };
        for path in layers(&folder)?
            .into_iter()
            .map(|(_, layer)| part::list(&layer))
            .collect::<Result<Vec<_>>>()?
            .concat()
        {
            if let Err(why) = part::verify(&path).and_then(|()| part::decode(&path, &fingerprint)) {
                damages.push(Damage {
                    path,
                    says: why.to_string(),
                });
            }
        }
    }
    Ok(damages)
}

/// Removes the folders of all fingerprints at `path`, and the cache's own folder if nothing else is left in it.
/// Gives the folders that are gone.
pub fn remove(path: &Path) -> Result<Vec<PathBuf>> {
    let folders = folders(path)?;
    for folder in &folders {
        fs::remove_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    if path.is_dir() {
        let _ = fs::remove_file(path.join("files.json"));
        let _ = fs::remove_dir(path); // fails where something else lies, which is not the cache's to remove
    }
    Ok(folders)
}

/// The fingerprints' folders at `path`, by name. Nothing else is ever touched: `remove` may be given any folder.
fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    let at = |e: std::io::Error| format!("{}: {e}", path.display());
    let whole = fs::canonicalize(path).map_err(at)?; // `.` has no name
    if is_fingerprint(&whole) {
        return Ok(vec![whole]);
    }
    let entries = fs::read_dir(path)
        .map_err(at)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>();
    let mut folders = entries.map_err(at)?;
    folders.retain(|folder| is_fingerprint(folder));
    folders.sort();
    if folders.is_empty() {
        return Err(format!(
            "{}: this is not a cache: no fingerprint.json is in it or one folder below",
            path.display()
        )
        .into());
    }
    Ok(folders)
}

fn is_fingerprint(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str());
    name.is_some_and(fingerprint::is_name) && folder.join("fingerprint.json").is_file()
}

/// Number and folder of each layer, by number; no number where the kind has no layers.
fn layers(folder: &Path) -> Result<Vec<(Option<usize>, PathBuf)>> {
    let mut layers = vec![];
    for entry in fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        layers.extend(name.and_then(layer::named).map(|n| (n, path.clone())));
    }
    layers.sort();
    Ok(layers)
}

fn listing(folder: PathBuf) -> Result<Listing> {
    let fingerprint = Fingerprint::read(&folder)?;
    let about: Json = serde_json::from_str(fingerprint.json()).unwrap_or_default();
    let (mut rows, mut bytes, mut unreadable) = (HashMap::new(), 0, 0);
    let layers = layers(&folder)?;
    for path in layers
        .iter()
        .map(|(_, layer)| part::list(layer))
        .collect::<Result<Vec<_>>>()?
        .concat()
    {
        bytes += fs::metadata(&path).map_or(0, |about| about.len());
        match part::slots(&path, &fingerprint) {
            Ok(slots) => rows.extend(
                slots
                    .into_iter()
                    .map(|(key, slot)| (key, slot.frames as u64)),
            ),
            Err(_) => unreadable += 1,
        }
    }
    Ok(Listing {
        kind: about["kind"].as_str().map(str::to_owned),
        model: about.get("model").cloned(),
        layers: layers.into_iter().filter_map(|(n, _)| n).collect(),
        rows: rows.len() as u64,
        frames: rows.values().sum(),
        bytes,
        unreadable,
        folder,
    })
}
