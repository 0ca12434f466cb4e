//! What identifies an output of a node in a cache: canonical JSON, and its hash as the name of a folder.
use super::codec::Codec;
use super::file_hashes::FileHashes;
use super::files::{FILE_HASHES, FINGERPRINT, HASH_DIGITS};
use crate::Result;
use crate::data::error::{PathContext, error_at};
use crate::data::read_files::ReadFiles;
use crate::data::store;
use crate::node::{Cacheable, NodeContext};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::Arc;

/// The version of the layout; a part of another version is never read.
const FORMAT: u32 = 1;

/// The canonical JSON of a node: keys sorted, no spaces.
#[derive(Clone, PartialEq)]
pub(super) struct Fingerprint(Arc<str>);

impl Fingerprint {
    /// Computes the fingerprint of an output as the node's options and the model's files say. The
    /// folder `root` of the cache remembers the hashes of these.
    pub(super) fn of(
        node: &dyn Cacheable,
        port: &str,
        codec: &Codec,
        root: &Path,
        context: &NodeContext,
    ) -> Result<Fingerprint> {
        let mut hashes = FileHashes::open(root.join(FILE_HASHES));
        let fingerprint = Fingerprint::of_files(node, port, codec, &mut hashes, context)?;
        hashes.save();
        Ok(fingerprint)
    }

    /// Computes the fingerprint of a node as its options and the model's files say.
    pub(super) fn of_files(
        node: &dyn Cacheable,
        port: &str,
        codec: &Codec,
        hashes: &mut FileHashes,
        context: &NodeContext,
    ) -> Result<Fingerprint> {
        let identity = node.identity(port, context, &mut |path| hashes.hash(path))?;
        Fingerprint::new(identity, codec.json(port))
    }

    /// Parses the canonical JSON.
    pub(super) fn fields(&self) -> Result<Json> {
        Ok(serde_json::from_str(self.json())?)
    }

    /// Reads the codec by which the parts in the fingerprint's folder are stored.
    pub(super) fn codec(&self, folder: &Path) -> Result<Codec> {
        Codec::of_folder(folder, &self.fields()?["codec"])
    }

    /// Computes the fingerprint of an output of a node that was built from the bytes in
    /// `read_files`.
    ///
    /// # Errors
    /// The folder of the model has other files now.
    pub(super) fn of_built(
        node: &dyn Cacheable,
        port: &str,
        codec: &Codec,
        read_files: &ReadFiles,
        context: &NodeContext,
    ) -> Result<Fingerprint> {
        let mut hash_of = |path: &Path| match read_files.hash(path)? {
            Some(hash) => Ok(hash.to_owned()),
            None => Err(error_at(
                path,
                "has come while the model was loaded; run again",
            )),
        };
        let identity = node.identity(port, context, &mut hash_of)?;
        Fingerprint::new(identity, codec.json(port))
    }

    fn new(mut identity: Json, codec: Json) -> Result<Fingerprint> {
        let fields = identity
            .as_object_mut()
            .ok_or("what identifies a node must be a JSON object")?;
        fields.insert("format".into(), json!(FORMAT));
        fields.insert("codec".into(), codec);
        identity.sort_all_objects();
        Ok(Fingerprint(identity.to_string().into()))
    }

    /// Reads the fingerprint from its folder.
    pub(super) fn read(folder: &Path) -> Result<Fingerprint> {
        let path = folder.join(FINGERPRINT);
        let text = String::from_utf8(store::read(&path).at(&path)?).at(&path)?;
        Ok(Fingerprint(text.into()))
    }

    /// Writes the fingerprint into its folder.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        store::write_new(&folder.join(FINGERPRINT), self.json().as_bytes())
    }

    /// Returns the canonical JSON.
    pub(super) fn json(&self) -> &str {
        &self.0
    }

    /// Returns the name of the fingerprint's folder.
    pub(super) fn name(&self) -> String {
        short_hash(&blake3::hash(self.0.as_bytes()))
    }
}

/// Returns the first 16 hex digits of a hash, which name folders and parts.
pub(super) fn short_hash(hash: &blake3::Hash) -> String {
    hash.to_hex()[..HASH_DIGITS].to_owned()
}
