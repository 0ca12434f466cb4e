//! Why rows of a node are missing from a cache: what its fingerprint has otherwise than the nearest
//! folder of the cache, and how many sampled rows that folder has.
use super::cacheable;
use super::codec::{Codec, CodecOption};
use super::file_hashes::FileHashes;
use super::files::{self, FILE_HASHES};
use super::fingerprint::Fingerprint;
use super::output::served_ports;
use super::part;
pub use super::sampled_rows::{EntryHits, SampledRows};
use super::tools::layer_folders;
use crate::Result;
use crate::node::{Cacheable, Config, NodeContext, StoredEntry};
use serde_json::Value as Json;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// An output of a node and the folder of the cache that is nearest to it.
pub struct Comparison {
    pub port: &'static str,
    /// The name of the folder that the node's rows are stored in.
    pub fingerprint: String,
    /// The folder with the fewest differences, and of several the one with the most parts; `None` if
    /// the cache has no folder of the kind.
    pub nearest: Option<Nearest>,
    entries: Vec<StoredEntry>,
}

/// A folder of the cache.
pub struct Nearest {
    pub folder: PathBuf,
    /// Empty for the folder of the node itself.
    pub differences: Vec<Difference>,
}

impl Nearest {
    /// Orders folders, the nearest first: of equally near ones that with more parts.
    fn rank(&self) -> (usize, Reverse<usize>, &Path) {
        let layers = layer_folders(&self.folder).unwrap_or_default();
        let parts = layers.iter().flat_map(|layer| part::list(&layer.path));
        let parts = parts.map(|parts| parts.len()).sum();
        (self.differences.len(), Reverse(parts), &self.folder)
    }
}

/// A key that two fingerprints have otherwise.
#[derive(Debug, PartialEq)]
pub struct Difference {
    /// The keys that lead to the value, joined by points.
    pub key: String,
    /// JSON; `None` where the key is missing.
    pub stored: Option<String>,
    pub wanted: Option<String>,
}

impl Difference {
    /// Names what the key is about.
    pub fn subject(&self) -> &'static str {
        match self.key.split('.').next() {
            Some("model") => "another model",
            Some("codec") => "another codec",
            Some("format") => "another version of the cache's layout",
            Some("bins" | "cepstra" | "deltas") => "another front end",
            _ => "another option",
        }
    }
}

/// Compares the fingerprints of a node's outputs with the folders of the cache `root`. Writes
/// nothing into a cache that is not there.
///
/// # Errors
/// The node cannot be cached, or its model cannot be read.
pub fn compare(
    config: &dyn Config,
    root: &Path,
    codec: &CodecOption,
    context: &NodeContext,
) -> Result<Vec<Comparison>> {
    let cacheable = cacheable(config)?;
    let codec = Codec::open(codec, context)?;
    let mut hashes = FileHashes::open(root.join(FILE_HASHES));
    let mut comparisons = vec![];
    for port in served_ports(cacheable, context) {
        comparisons.push(compare_port(
            cacheable,
            port,
            root,
            &codec,
            &mut hashes,
            context,
        )?);
    }
    if root.is_dir() {
        hashes.save();
    }
    Ok(comparisons)
}

fn compare_port(
    node: &dyn Cacheable,
    port: &'static str,
    root: &Path,
    codec: &Codec,
    hashes: &mut FileHashes,
    context: &NodeContext,
) -> Result<Comparison> {
    let wanted = Fingerprint::of_files(node, port, codec, hashes, context)?;
    let mut nearest: Option<Nearest> = None;
    for (name, folder) in files::entries(root) {
        if !files::is_short_hash(&name) {
            continue;
        }
        let Ok(stored) = Fingerprint::read(&folder) else {
            continue;
        };
        let Some(differences) = differences(&stored, &wanted) else {
            continue;
        };
        let candidate = Nearest {
            folder,
            differences,
        };
        if nearest
            .as_ref()
            .is_none_or(|near| candidate.rank() < near.rank())
        {
            nearest = Some(candidate);
        }
    }
    Ok(Comparison {
        port,
        fingerprint: wanted.name(),
        nearest,
        entries: node.entries(port, context)?,
    })
}

impl Comparison {
    /// Counts the sampled rows that the nearest folder has, by entry.
    pub fn hits(&self, sampled: &SampledRows) -> Result<Vec<EntryHits>> {
        let Some(nearest) = &self.nearest else {
            return Ok(vec![]);
        };
        let entries = self.entries.iter();
        entries
            .map(|&entry| sampled.hits(&nearest.folder, entry))
            .collect()
    }
}

/// Compares two fingerprints; `None` if they are of different kinds or one cannot be read.
fn differences(stored: &Fingerprint, wanted: &Fingerprint) -> Option<Vec<Difference>> {
    let stored = stored.fields().ok()?;
    let wanted = wanted.fields().ok()?;
    if stored["kind"] != wanted["kind"] {
        return None;
    }
    let stored = values_by_path(&stored);
    let wanted = values_by_path(&wanted);
    let keys: BTreeSet<&String> = stored.keys().chain(wanted.keys()).collect();
    let mut differences = vec![];
    for key in keys {
        if stored.get(key) != wanted.get(key) {
            differences.push(Difference {
                key: key.clone(),
                stored: stored.get(key).map(Json::to_string),
                wanted: wanted.get(key).map(Json::to_string),
            });
        }
    }
    Some(differences)
}

/// Returns all values that are no objects, by the keys that lead to them. A codec is one value, since
/// one is a name and another an object.
fn values_by_path(json: &Json) -> BTreeMap<String, Json> {
    let mut values = BTreeMap::new();
    let mut waiting = vec![(String::new(), json)];
    while let Some((path, json)) = waiting.pop() {
        let Some(object) = json.as_object().filter(|_| path != "codec") else {
            values.insert(path, json.clone());
            continue;
        };
        for (key, value) in object {
            let separator = if path.is_empty() { "" } else { "." };
            waiting.push((format!("{path}{separator}{key}"), value));
        }
    }
    values
}
