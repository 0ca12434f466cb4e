//! The option `cache` of a node: sends rows that are stored, runs the node on the others, and
//! stores the results.
//!
//! ```text
//! row key      first 16 bytes of BLAKE3(number of samples, samples, mask) of the row received
//! fingerprint  first 16 hex digits of BLAKE3(canonical JSON of the node's identity)
//! entry        (row key, layer) -> frames, width, hidden
//!              (row key, logits) -> frames, classes, logits, under a fingerprint of their own
//!
//! <cache>/files.json                                     hashes of the models' files, by path,
//!                                                        size, times and inode
//! <cache>/<fingerprint>/fingerprint.json
//! <cache>/<fingerprint>/layer-03/part-<16 hex>.parquet   logits/ for logits,
//!                                                        rows/ for kinds without layers
//! ```
//!
//! The content of a row is its only address, so nothing upstream has to be remembered: a wrong hit
//! would need a hash collision. The node is built at the first miss, and rows are stored under the
//! hash of the very bytes that it was built from. If all rows are stored, no teacher is opened and
//! nothing is written. If the cache cannot be written, rows are computed and not kept.
mod cached;
pub mod codec;
mod file_hashes;
mod files;
mod fingerprint;
mod input_rows;
mod layer;
mod leftovers;
pub mod merge;
mod output;
mod part;
mod rounded;
mod rows;
mod sampled_rows;
mod store;
mod stored_rows;
#[cfg(test)]
mod tests;
pub mod tools;
pub mod why;

use crate::Result;
use crate::node::{Cacheable, Config, Node, NodeContext};
use cached::CachedNode;
use codec::{Codec, CodecOption};
use output::CachedOutput;
use std::path::Path;
use std::sync::Arc;

/// Builds the node of `config` behind the cache in the folder `root`. Indexes what earlier runs
/// have stored. Without a folder, or where the cache is of no use, rows are only rounded as `codec`
/// stores them.
///
/// `is_read` is false for a node whose rows go nowhere but into the cache.
///
/// # Errors
/// The node cannot be cached, its model or its codebooks cannot be read, or `root` is no folder
/// that can be read.
pub fn wrap(
    config: Arc<dyn Config>,
    root: Option<&Path>,
    codec: &CodecOption,
    is_read: bool,
    context: &NodeContext,
) -> Result<Box<dyn Node>> {
    let Some(root) = root else {
        return rounded::wrap(config, codec, context);
    };
    let cacheable = cacheable(&*config)?;
    if let Some(other) = uncached_output(&*config, context)? {
        context.say_once(&format!(
            "`{other}` is not cached, so every row is computed and the cache is not used"
        ));
        return rounded::wrap(config, codec, context);
    }
    leftovers::remove(root);
    let codec = Codec::open(codec, context)?;
    let outputs = CachedOutput::open(cacheable, &codec, root, context)?;
    let node = CachedNode::new(config, context, root, codec, outputs, is_read);
    Ok(Box::new(node))
}

/// Returns an output that some node reads and that is not cached, if there is one.
///
/// # Errors
/// The node cannot be cached.
pub fn uncached_output(config: &dyn Config, context: &NodeContext) -> Result<Option<&'static str>> {
    let cached = cacheable(config)?.ports();
    let mut outputs = context.read_outputs.iter().copied();
    Ok(outputs.find(|port| !cached.contains(port)))
}

fn cacheable(config: &dyn Config) -> Result<&dyn Cacheable> {
    config
        .cacheable()
        .ok_or_else(|| "what it sends is not a function of its rows, so it cannot be cached".into())
}
