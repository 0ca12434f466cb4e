//! The option `cache` of a node: sends rows that are stored, runs the node on the others, and
//! stores the results.
//!
//! ```text
//! row key      first 16 bytes of BLAKE3(number of samples, samples, mask) of the row received
//! fingerprint  first 16 hex digits of BLAKE3(canonical JSON of the node's identity)
//! entry        (row key, layer) -> frames, width, hidden
//!
//! <cache>/files.json                                     hashes of the models' files, by path,
//!                                                        size and time
//! <cache>/<fingerprint>/fingerprint.json
//! <cache>/<fingerprint>/layer-03/part-<16 hex>.parquet   rows/ for kinds without layers
//! ```
//!
//! The content of a row is its only address, so nothing upstream has to be remembered: a wrong hit
//! would need a hash collision. The node is built at the first miss. If all rows are stored, no
//! teacher is opened and nothing is written.
mod cached;
mod file_hashes;
mod files;
mod fingerprint;
mod layer;
mod part;
mod rows;
#[cfg(test)]
mod tests;
pub mod tools;

use crate::Result;
use crate::node::{Cacheable, Config, Node, NodeContext};
use cached::CachedNode;
use fingerprint::Fingerprint;
use layer::LayerStore;
use std::path::Path;
use std::sync::Arc;

/// Builds the node of `config` behind the cache in the folder `root`. Indexes what earlier runs
/// have stored.
///
/// # Errors
/// The node cannot be cached, its model cannot be read, or `root` is no folder that can be read.
pub fn wrap(config: Arc<dyn Config>, root: &Path, context: &NodeContext) -> Result<Box<dyn Node>> {
    let cacheable = cacheable(&*config)?;
    let mut others = context.read_outputs.iter();
    if let Some(other) = others.find(|port| **port != cacheable.output()) {
        context.say(format!(
            "`{other}` is not cached, so every row is computed and the cache is not used"
        ));
        return config.build(context);
    }
    files::remove_leftovers(root);
    let fingerprint = Fingerprint::of(cacheable, root, context)?;
    let folder = root.join(fingerprint.name());
    let mut layers = vec![];
    for &layer in stored_layers(cacheable) {
        let layer = cacheable.layers().map(|_| layer);
        let folder = folder.join(layer::folder_name(layer));
        layers.push(LayerStore::open(folder, fingerprint.clone(), context)?);
    }
    let context = context.clone();
    let node = CachedNode::new(config, context, fingerprint, folder, layers);
    Ok(Box::new(node))
}

fn cacheable(config: &dyn Config) -> Result<&dyn Cacheable> {
    config
        .cacheable()
        .ok_or_else(|| "what it sends is not a function of its rows, so it cannot be cached".into())
}

/// Returns the layers of a node in the order in which it sends them; layer 0 of a kind without
/// layers.
fn stored_layers(node: &dyn Cacheable) -> &[usize] {
    node.layers().unwrap_or(&[0])
}
