//! What a node is, so that its rows can be found again: canonical JSON, and its hash as the name of a folder.
use crate::Result;
use crate::node::{Cacheable, NodeContext};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, time::UNIX_EPOCH};

/// Changes when parts of earlier versions must not be read any more.
const FORMAT: u32 = 1;
/// How `hidden` is stored.
const CODEC: &str = "f32";
const DIGITS: usize = 16;

/// The canonical JSON: keys sorted, no spaces.
#[derive(Clone, PartialEq)]
pub struct Fingerprint(Arc<str>);

impl Fingerprint {
    /// `root` is the cache's folder, where the hashes of the model's files are remembered.
    pub fn of(what: &dyn Cacheable, root: &Path, context: &NodeContext) -> Result<Fingerprint> {
        let mut files = Files::open(root.join("files.json"));
        let mut identity = what.identity(context, &mut |path| files.hash(path))?;
        files.save();
        let fields = identity
            .as_object_mut()
            .ok_or("what identifies a node must be a JSON object")?;
        fields.insert("format".into(), json!(FORMAT));
        fields.insert("codec".into(), json!(CODEC));
        identity.sort_all_objects();
        Ok(Fingerprint(identity.to_string().into()))
    }
    /// As it stands in the folder `folder`.
    pub fn read(folder: &Path) -> Result<Fingerprint> {
        let path = folder.join("fingerprint.json");
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Fingerprint(text.into()))
    }
    pub fn json(&self) -> &str {
        &self.0
    }
    /// The name of its folder.
    pub fn name(&self) -> String {
        short(&blake3::hash(self.0.as_bytes()))
    }
}

/// The first 16 hex digits, which name folders and parts.
pub fn short(hash: &blake3::Hash) -> String {
    hash.to_hex()[..DIGITS].to_owned()
}

/// Whether a folder may be one of a fingerprint, or the middle of a part's name.
pub fn is_name(name: &str) -> bool {
    name.len() == DIGITS
        && name
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// BLAKE3 of a file's bytes, read piece by piece.
pub fn hash_of(path: &Path) -> std::io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path)?)?;
    Ok(hasher.finalize())
}

/// Hashes of files, good for as long as size and time of a file stay: `files.json`.
struct Files {
    path: PathBuf,
    known: BTreeMap<String, Known>,
    grew: bool,
}

#[derive(Serialize, Deserialize)]
struct Known {
    size: u64,
    /// Nanoseconds since 1970.
    mtime: u64,
    hash: String,
}

impl Files {
    /// A file that is missing or damaged is one that remembers nothing.
    fn open(path: PathBuf) -> Files {
        let known = fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Files {
            path,
            known,
            grew: false,
        }
    }
    fn hash(&mut self, path: &Path) -> Result<String> {
        let at = |e: std::io::Error| format!("{}: {e}", path.display());
        let name = fs::canonicalize(path)
            .map_err(at)?
            .to_string_lossy()
            .into_owned();
        let about = fs::metadata(path).map_err(at)?; // before hashing: a change meanwhile is seen the next time
        let age = about
            .modified()
            .map_err(at)?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let (size, mtime) = (about.len(), age.as_nanos() as u64);
        if let Some(known) = self
            .known
            .get(&name)
            .filter(|k| (k.size, k.mtime) == (size, mtime))
        {
            return Ok(known.hash.clone());
        }
        let hash = hash_of(path).map_err(at)?.to_hex().to_string();
        self.known.insert(
            name,
            Known {
                size,
                mtime,
                hash: hash.clone(),
            },
        );
        self.grew = true;
        Ok(hash)
    }
    /// In a cache that may only be read, the next run hashes again.
    fn save(&self) {
        if self.grew
            && let Ok(bytes) = serde_json::to_vec_pretty(&self.known)
        {
            let _ = super::write(&self.path, &bytes);
        }
    }
}
