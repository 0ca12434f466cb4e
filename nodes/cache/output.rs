//! One output of a cached node: its port, and what is stored of it.
use super::codec::Codec;
use super::fingerprint::Fingerprint;
use super::store::Store;
use crate::Result;
use crate::node::{Cacheable, NodeContext, StoredEntry};
use std::path::Path;

/// An output that is served from a cache.
pub(super) struct CachedOutput {
    pub(super) port: &'static str,
    /// What a row has, in the order in which it is sent.
    pub(super) entries: Vec<StoredEntry>,
    pub(super) store: Store,
}

impl CachedOutput {
    /// Indexes what is stored of the outputs that are read, or of the first if none is.
    pub(super) fn open(
        node: &dyn Cacheable,
        codec: &Codec,
        root: &Path,
        context: &NodeContext,
    ) -> Result<Vec<CachedOutput>> {
        let mut outputs = vec![];
        for port in served_ports(node, context) {
            let entries = node.entries(port, context)?;
            let fingerprint = Fingerprint::of(node, port, codec, root, context)?;
            let store = Store::open(root, fingerprint, codec, &entries, context)?;
            outputs.push(CachedOutput {
                port,
                entries,
                store,
            });
        }
        Ok(outputs)
    }
}

/// Returns the cached ports that are read, or the first if none is.
pub(super) fn served_ports(node: &dyn Cacheable, context: &NodeContext) -> Vec<&'static str> {
    let mut ports = node.ports().to_vec();
    if context.read_outputs.is_empty() {
        ports.truncate(1);
    } else {
        ports.retain(|port| context.read_outputs.contains(port));
    }
    ports
}
