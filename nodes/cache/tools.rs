//! The commands on a cache: list, verify, remove. A path is a cache or the folder of one
//! fingerprint in it.
use super::fingerprint::Fingerprint;
use super::{files, layer, leftovers, part};
use crate::data::error::{PathContext, error_at};
use crate::data::store;
use crate::node::StoredEntry;
use crate::{Error, Result};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// What the folder of one fingerprint contains.
#[derive(Debug, Serialize, PartialEq)]
pub struct Listing {
    pub folder: PathBuf,
    /// The kind of the node.
    pub kind: Option<String>,
    /// The model, as the fingerprint describes it.
    pub model: Option<Json>,
    /// How values are stored.
    pub codec: Option<Json>,
    /// The numbers of the layers; empty for logits and for a kind without layers.
    pub layers: Vec<usize>,
    /// Whether it has logits.
    pub logits: bool,
    /// The number of rows that have at least one layer.
    pub rows: u64,
    /// The number of frames of these rows.
    pub frames: u64,
    /// The number of bytes of all parts.
    pub bytes: u64,
    /// The number of parts that cannot be read; `verify` tells why.
    pub unreadable: usize,
}

/// A file that cannot be used, and why.
#[derive(Debug, Serialize, PartialEq)]
pub struct Damage {
    pub path: PathBuf,
    pub says: String,
    /// Whether the file is a part with other bytes than were written, which no run can use.
    pub is_damaged_part: bool,
}

impl Damage {
    /// Describes a part that [`part::verify`] has `verified` or not, and that cannot be used.
    pub(super) fn of_part(path: PathBuf, verified: bool, error: &Error) -> Damage {
        Damage {
            path,
            says: error.to_string(),
            is_damaged_part: !verified && !error.is::<std::io::Error>(),
        }
    }

    /// Describes a file beside the parts, or a folder.
    pub(super) fn of_other(path: PathBuf, says: String) -> Damage {
        Damage {
            path,
            says,
            is_damaged_part: false,
        }
    }

    /// Renames a damaged part, as a run does that reads it: the next run computes its rows again.
    /// Returns whether the part has another name now.
    pub fn set_aside(&self) -> bool {
        self.is_damaged_part && layer::rename_damaged(&self.path)
    }
}

/// Lists fingerprints. Reads keys and footers of parts, no hidden states.
pub fn list(path: &Path) -> Result<Vec<Listing>> {
    folders(path)?.into_iter().map(listing).collect()
}

/// Hashes every part again and decodes every value. Changes nothing.
pub fn verify(path: &Path) -> Result<Vec<Damage>> {
    let mut damages = vec![];
    for folder in folders(path)? {
        let fingerprint = Fingerprint::read(&folder).ok();
        match fingerprint.filter(|fingerprint| folder.ends_with(fingerprint.name())) {
            Some(fingerprint) => damages.extend(verify_parts(&folder, &fingerprint)?),
            None => {
                let says = "is not the JSON that its folder is called by".to_owned();
                damages.push(Damage::of_other(folder.join(files::FINGERPRINT), says));
            }
        }
    }
    Ok(damages)
}

fn verify_parts(folder: &Path, fingerprint: &Fingerprint) -> Result<Vec<Damage>> {
    let codec = match fingerprint.codec(folder) {
        Ok(codec) => codec,
        Err(error) => return Ok(vec![Damage::of_other(folder.to_owned(), error.to_string())]),
    };
    let mut damages = vec![];
    for layer in layer_folders(folder)? {
        let codec = match codec.of_entry(layer.entry) {
            Ok(codec) => codec,
            Err(error) => {
                damages.push(Damage::of_other(layer.path, error.to_string()));
                continue;
            }
        };
        let mut seen = HashSet::new();
        let mut is_merged = true;
        while std::mem::take(&mut is_merged) {
            let mut paths = part::list(&layer.path)?;
            paths.retain(|path| seen.insert(path.clone()));
            for path in paths {
                let verified = part::verify(&path);
                let is_verified = verified.is_ok();
                match verified.and_then(|()| part::decode(&path, fingerprint, &codec)) {
                    Ok(()) => {}
                    // Its rows are in a part that another process has written since.
                    Err(error) if part::is_gone(&error) => is_merged = true,
                    Err(error) => damages.push(Damage::of_part(path, is_verified, &error)),
                }
            }
        }
    }
    Ok(damages)
}

/// Removes the folders of all fingerprints at `path`, and the cache's own folder if nothing else is
/// left in it. Returns the removed folders of fingerprints.
pub fn remove(path: &Path) -> Result<Vec<PathBuf>> {
    let folders = folders(path)?;
    for folder in &folders {
        match store::is_address(folder) {
            true => remove_objects(folder)?,
            false => remove_folder(folder).at(folder)?,
        }
    }
    if path.is_dir() {
        leftovers::remove(path);
        let _ = fs::remove_file(path.join(files::FILE_HASHES));
        let _ = fs::remove_dir(path); // fails if the folder contains files of somebody else
    }
    Ok(folders)
}

/// Removes a folder, into which a run may write a part meanwhile.
fn remove_folder(folder: &Path) -> io::Result<()> {
    const ATTEMPTS: usize = 10;
    for _ in 1..ATTEMPTS {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            removed => return removed,
        }
    }
    fs::remove_dir_all(folder)
}

/// Removes the objects of a fingerprint: what makes them a cache last, so that a command that was
/// stopped can be run again.
fn remove_objects(folder: &Path) -> Result<()> {
    let mut objects = store::list_below(folder).at(folder)?;
    objects.retain(|object| !object.path.ends_with(files::FINGERPRINT));
    let remove = |path: &Path| store::remove(path).at(path);
    store::in_parallel(folder, || {
        let objects = objects.par_iter();
        objects.try_for_each(|object| remove(&object.path))
    })?;
    remove(&folder.join(files::FINGERPRINT))
}

/// Returns the fingerprints' folders at `path`, by name. `remove` touches nothing else, since it
/// may be given any folder.
pub(super) fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    let absolute = match store::is_address(path) {
        true => path.to_owned(),
        false => fs::canonicalize(path).at(path)?, // `.` has no name
    };
    if is_fingerprint(&absolute) {
        return Ok(vec![absolute]);
    }
    let mut folders = vec![];
    for folder in store::list(path).at(path)? {
        if is_fingerprint(&folder) {
            folders.push(folder);
        }
    }
    folders.sort();
    if folders.is_empty() {
        let message = "this is not a cache: no fingerprint.json is in it or one folder below";
        return Err(error_at(path, message));
    }
    Ok(folders)
}

fn is_fingerprint(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str());
    name.is_some_and(files::is_short_hash) && store::exists(&folder.join(files::FINGERPRINT))
}

/// The folder of a layer, of logits, or of the rows of a kind without layers.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LayerFolder {
    pub(super) entry: StoredEntry,
    pub(super) path: PathBuf,
}

impl LayerFolder {
    fn layer(&self) -> Option<usize> {
        match self.entry {
            StoredEntry::Layer(layer) => Some(layer),
            StoredEntry::Logits | StoredEntry::Rows => None,
        }
    }
}

/// Returns the folders of entries of a fingerprint, by layer.
pub(super) fn layer_folders(folder: &Path) -> Result<Vec<LayerFolder>> {
    let mut folders = vec![];
    for path in store::list(folder).at(folder)? {
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(entry) = name.and_then(layer::entry_of_folder) {
            folders.push(LayerFolder { entry, path });
        }
    }
    folders.sort();
    Ok(folders)
}

fn listing(folder: PathBuf) -> Result<Listing> {
    let fingerprint = Fingerprint::read(&folder).ok();
    let json = fingerprint.as_ref().map_or("", Fingerprint::json);
    let identity: Json = serde_json::from_str(json).unwrap_or_default();
    let layers = layer_folders(&folder)?;
    let mut frames_by_row = HashMap::new();
    let mut bytes = 0;
    let mut unreadable = 0;
    let codec = fingerprint
        .as_ref()
        .and_then(|known| known.codec(&folder).ok());
    let known = fingerprint.as_ref().zip(codec.as_ref());
    for layer in &layers {
        for path in part::list(&layer.path)? {
            bytes += store::size(&path).unwrap_or(0);
            let locations = known.and_then(|(fingerprint, codec)| {
                let codec = codec.of_entry(layer.entry).ok()?;
                part::locations(&path, fingerprint, &codec).ok()
            });
            match locations {
                Some(locations) => {
                    for (key, location) in locations {
                        frames_by_row.insert(key, location.frames as u64);
                    }
                }
                None => unreadable += 1,
            }
        }
    }
    Ok(Listing {
        kind: identity["kind"].as_str().map(str::to_owned),
        model: identity.get("model").cloned(),
        codec: identity.get("codec").cloned(),
        logits: layers
            .iter()
            .any(|folder| folder.entry == StoredEntry::Logits),
        layers: layers.iter().filter_map(LayerFolder::layer).collect(),
        rows: frames_by_row.len() as u64,
        frames: frames_by_row.values().sum(),
        bytes,
        unreadable,
        folder,
    })
}
