//! The stored rows of one output, which has a fingerprint of its own, in all layers that a node
//! sends.
use super::codec::Codec;
use super::fingerprint::Fingerprint;
use super::layer::{self, LayerStore};
use super::rows::RowKey;
use crate::Result;
use crate::data::entry::Entry;
use crate::node::row_counts::RowCounts;
use crate::node::{NodeContext, StoredEntry};
use std::path::{Path, PathBuf};

/// Entries of a step, (rows)(entries of a row); `None` if an entry is missing.
pub(super) type FoundEntries = Vec<Vec<Option<Entry>>>;

/// The folder of a fingerprint.
pub(super) struct Store {
    folder: PathBuf,
    pub(super) fingerprint: Fingerprint,
    codec: Codec,
    /// In the order in which the node sends them.
    layers: Vec<LayerStore>,
    /// Whether rows are kept: until the cache cannot be written.
    keeps_rows: bool,
}

impl Store {
    /// Indexes the parts of these entries below the cache's folder `root`.
    pub(super) fn open(
        root: &Path,
        fingerprint: Fingerprint,
        codec: &Codec,
        entries: &[StoredEntry],
        context: &NodeContext,
    ) -> Result<Store> {
        let folder = root.join(fingerprint.name());
        let mut stores = vec![];
        for entry in entries {
            let folder = folder.join(layer::folder_name(*entry));
            let codec = codec.of_entry(*entry)?;
            stores.push(LayerStore::open(
                folder,
                fingerprint.clone(),
                codec,
                context,
            )?);
        }
        let store = Store {
            folder,
            fingerprint,
            codec: codec.clone(),
            layers: stores,
            keeps_rows: true,
        };
        if store.layers.iter().any(LayerStore::has_parts) {
            let _ = store.describe_folder(); // only the commands on a cache need it
        }
        Ok(store)
    }

    /// Returns how many of `rows` are stored, by name and length: of the layer that has the fewest.
    pub(super) fn stored(&self, rows: &RowCounts) -> u64 {
        let layers = self.layers.iter();
        let stored = layers.map(|layer| rows.common(&layer.row_counts()));
        stored.min().unwrap_or(0)
    }

    /// Returns the stored entries of rows, (rows)(entries).
    pub(super) fn find(&mut self, keys: &[RowKey]) -> FoundEntries {
        let mut found: FoundEntries = keys.iter().map(|_| vec![]).collect();
        for layer in &mut self.layers {
            for (row, entry) in found.iter_mut().zip(layer.get_all(keys)) {
                row.push(entry);
            }
        }
        found
    }

    /// Whether rows are kept: until [`Store::stop_keeping`].
    pub(super) fn keeps_rows(&self) -> bool {
        self.keeps_rows
    }

    /// Keeps no row from now on, and forgets those that are in no file.
    pub(super) fn stop_keeping(&mut self) {
        self.keeps_rows = false;
        self.layers
            .iter_mut()
            .for_each(LayerStore::forget_unwritten);
    }

    /// Returns the entry at `index` of a row as it is read back, and keeps it, if rows are kept.
    ///
    /// # Errors
    /// The codec cannot store a value of it.
    pub(super) fn put(
        &mut self,
        index: usize,
        key: RowKey,
        id: &str,
        samples: usize,
        entry: Entry,
    ) -> Result<Entry> {
        self.layers[index].put(key, id, samples, entry, self.keeps_rows)
    }

    /// Writes fingerprint.json, and what the codec needs to decode. Fails if the cache cannot be
    /// written.
    pub(super) fn write_fingerprint(&self) -> Result<()> {
        self.codec.keep_file(&self.folder)?;
        self.fingerprint.write(&self.folder)
    }

    /// Writes the rows of layers that have enough for a part.
    pub(super) fn write_full(&mut self) -> Result<()> {
        self.write_layers(LayerStore::is_full)
    }

    /// Writes the rows that are in no part yet.
    pub(super) fn write(&mut self) -> Result<()> {
        self.write_layers(LayerStore::has_unwritten)
    }

    fn write_layers(&mut self, is_written: fn(&LayerStore) -> bool) -> Result<()> {
        if !self.layers.iter().any(is_written) {
            return Ok(());
        }
        self.describe_folder()?;
        let layers = self.layers.iter_mut();
        layers
            .filter(|layer| is_written(layer))
            .try_for_each(LayerStore::write)
    }

    /// Writes fingerprint.json if it is not there: somebody may have removed it, or the cache, and
    /// without it no command finds the parts.
    fn describe_folder(&self) -> Result<()> {
        if Fingerprint::read(&self.folder).is_ok_and(|found| found == self.fingerprint) {
            return Ok(());
        }
        self.write_fingerprint()
    }
}
