//! Builds the node behind a cache when a row is missing.
use super::CachedNode;
use crate::Result;
use crate::cache::cacheable;
use crate::cache::fingerprint::Fingerprint;
use crate::cache::store::{FoundEntries, Store};

impl CachedNode {
    /// Builds the node so that it computes every entry that is missing, unless it does already.
    ///
    /// Returns true if it was built from other bytes than those that the stores are for, which are
    /// now those of these bytes.
    pub(super) fn build_node(&mut self, found: &FoundEntries) -> Result<bool> {
        let config = self.config.clone();
        let cacheable = cacheable(&*config)?;
        let mut wanted = vec![];
        let entries = self.outputs.iter().flat_map(|output| &output.entries);
        for (place, entry) in entries.enumerate() {
            let missing = found.iter().any(|row| row[place].is_none());
            if missing || self.computed.contains(entry) {
                wanted.push(*entry);
            }
        }
        if wanted == self.computed {
            return Ok(false);
        }
        self.node = None; // two teachers at once might not fit into memory
        let built = cacheable.build_for(&wanted, &self.context)?;
        self.node = Some(built.node);
        self.computed = wanted;
        let mut is_other_model = false;
        for output in 0..self.outputs.len() {
            let port = self.outputs[output].port;
            let files = &built.read_files;
            let fingerprint =
                Fingerprint::of_built(cacheable, port, &self.codec, files, &self.context)?;
            if fingerprint != self.outputs[output].store.fingerprint {
                self.change_store(output, fingerprint)?;
                is_other_model = true;
            }
            if self.outputs[output].store.keeps_rows() {
                // A cache that cannot be written is noticed before the first row is computed.
                let written = self.outputs[output].store.write_fingerprint();
                self.check_written(written)?;
            }
        }
        Ok(is_other_model)
    }

    /// Changes an output to the store of the model that was loaded, which is not the one that was
    /// hashed at the start.
    fn change_store(&mut self, output: usize, fingerprint: Fingerprint) -> Result<()> {
        if self.has_served {
            let message = "the model's files have changed during the run, and its rows so far are \
                           those of the model before; run again";
            return Err(message.into());
        }
        let output = &mut self.outputs[output];
        let keeps_rows = output.store.keeps_rows();
        let entries = &output.entries;
        output.store = Store::open(&self.root, fingerprint, &self.codec, entries, &self.context)?;
        if !keeps_rows {
            output.store.stop_keeping();
        }
        Ok(())
    }
}
