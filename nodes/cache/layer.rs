//! The stored rows of one layer: an index of its parts, and rows that are in no part yet.
mod folder;
mod others;
mod parts;

use super::codec::{Encoded, EntryCodec};
use super::fingerprint::Fingerprint;
use super::part::{self, RowLocation};
use super::rows::{RowKey, UnwrittenRows};
use super::stored_rows;
use crate::Result;
use crate::data::entry::Entry;
use crate::data::printable::printable;
use crate::data::store;
use crate::node::NodeContext;
use crate::node::row_counts::RowCounts;
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::SystemTime;

pub(super) use folder::{entry_of_folder, folder_name};
pub(super) use parts::rename_damaged;

/// Rows become a part, of one row group, when they have this many bytes.
pub(super) const PART_BYTES: usize = 64 << 20;

/// The rows of one layer, of logits, or of a kind without layers.
pub(super) struct LayerStore {
    folder: PathBuf,
    fingerprint: Fingerprint,
    codec: EntryCodec,
    context: NodeContext,
    parts: Vec<PartFile>,
    /// Parts that turned out to be damaged, or that are no longer there.
    lost: HashSet<PathBuf>,
    index: HashMap<RowKey, EntryLocation>,
    unwritten: UnwrittenRows,
    /// When the folder had last changed as parts of other ranks were looked for.
    looked_at: Option<SystemTime>,
}

struct PartFile {
    path: PathBuf,
    /// Whether this run has written its bytes, or compared them with its name.
    verified: bool,
}

#[derive(Clone, Copy)]
enum EntryLocation {
    /// A row of the unwritten ones.
    Unwritten(usize),
    /// A part, by its index, and the row in it.
    Part(u32, RowLocation),
}

impl LayerStore {
    /// Reads the keys of all parts. The bytes of a part are verified when it first serves a row,
    /// since a cache may have terabytes.
    pub(super) fn open(
        folder: PathBuf,
        fingerprint: Fingerprint,
        codec: EntryCodec,
        context: &NodeContext,
    ) -> Result<LayerStore> {
        let mut store = LayerStore {
            folder,
            fingerprint,
            unwritten: UnwrittenRows::new(codec.clone()),
            codec,
            context: context.clone(),
            parts: vec![],
            lost: HashSet::new(),
            index: HashMap::new(),
            looked_at: None,
        };
        store.index_parts()?;
        Ok(store)
    }

    /// Returns the rows of all parts, by name and length.
    pub(super) fn row_counts(&self) -> RowCounts {
        let parts = self.parts.iter().map(|part| part.path.as_path());
        stored_rows::count(&self.folder, &parts.collect::<Vec<_>>())
    }

    /// Returns the entry of a row, if it is stored. If its part turns out to be damaged, all rows
    /// of the part are missing from then on, but for those that another part has. If its part is no
    /// longer there, since another process has merged parts, those that are there are indexed anew.
    pub(super) fn get(&mut self, key: &RowKey) -> Option<Entry> {
        loop {
            match *self.index.get(key)? {
                EntryLocation::Unwritten(row) => return Some(self.unwritten.entry(row)),
                EntryLocation::Part(number, location) => match self.read(number, location) {
                    Ok(Some(entry)) => return Some(entry),
                    Ok(None) => {} // its rows were located anew
                    Err(error) => self.lose_part(number, error),
                },
            }
        }
    }

    /// Returns the entries of rows as [`LayerStore::get`]. Reads those of parts that were read before
    /// in parallel.
    pub(super) fn get_all(&mut self, keys: &[RowKey]) -> Vec<Option<Entry>> {
        let read = || keys.par_iter().map(|key| self.get_verified(key)).collect();
        let mut entries: Vec<Option<Entry>> = store::in_parallel(&self.folder, read);
        self.get_missing(keys, &mut entries);
        if entries.iter().any(Option::is_none) && self.add_parts_of_others() {
            self.get_missing(keys, &mut entries);
        }
        entries
    }

    fn get_missing(&mut self, keys: &[RowKey], entries: &mut [Option<Entry>]) {
        for (key, entry) in keys.iter().zip(entries) {
            if entry.is_none() {
                *entry = self.get(key);
            }
        }
    }

    /// Returns the entry of a row, if it is stored in a part whose bytes are known to be right.
    fn get_verified(&self, key: &RowKey) -> Option<Entry> {
        match *self.index.get(key)? {
            EntryLocation::Unwritten(row) => Some(self.unwritten.entry(row)),
            EntryLocation::Part(number, location) => {
                let part = &self.parts[number as usize];
                let reads = part.verified;
                reads.then(|| part::read(&part.path, location, &self.codec).ok())?
            }
        }
    }

    /// Reads a row of a part. When the part serves for the first time, its bytes are verified instead, and
    /// its rows located anew: what its footer said before was not verified.
    fn read(&mut self, number: u32, location: RowLocation) -> Result<Option<Entry>> {
        let part = &mut self.parts[number as usize];
        if part.verified {
            return Ok(Some(part::read(&part.path, location, &self.codec)?));
        }
        part::verify(&part.path)?;
        part.verified = true;
        for (key, location) in part::locations(&part.path, &self.fingerprint, &self.codec)? {
            let verified = EntryLocation::Part(number, location);
            let indexed = self.index.entry(key).or_insert(verified);
            if matches!(indexed, EntryLocation::Part(indexed, _) if *indexed == number) {
                *indexed = verified;
            }
        }
        Ok(None)
    }

    /// Returns a row as it is read back, and keeps it to be written if `keeps`, unless it is stored
    /// already: a batch may have the same samples twice.
    pub(super) fn put(
        &mut self,
        key: RowKey,
        id: &str,
        samples: usize,
        entry: Entry,
        keeps: bool,
    ) -> Result<Entry> {
        let keeps = keeps && !self.index.contains_key(&key);
        if self.codec.is_exact() && !keeps {
            return Ok(entry);
        }
        let encoded = self.codec.encode(&entry);
        let encoded = encoded.map_err(|error| format!("row `{}`: {error}", printable(id)))?;
        if keeps {
            let row = self.unwritten.len();
            self.unwritten.push(key, id, samples as u32, &encoded);
            self.index.insert(key, EntryLocation::Unwritten(row));
        }
        if self.codec.is_exact() {
            return Ok(entry);
        }
        let Encoded {
            frames,
            width,
            bytes,
        } = encoded;
        Ok(self.codec.decode(frames, width, &bytes))
    }

    /// Whether the unwritten rows are enough for a part.
    pub(super) fn is_full(&self) -> bool {
        self.unwritten.bytes() >= PART_BYTES
    }

    /// Whether there are rows that are in no part.
    pub(super) fn has_unwritten(&self) -> bool {
        self.unwritten.len() > 0
    }

    /// Whether a part was found or written.
    pub(super) fn has_parts(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Drops the unwritten rows.
    pub(super) fn forget_unwritten(&mut self) {
        self.index
            .retain(|_, location| !matches!(location, EntryLocation::Unwritten(_)));
        self.unwritten = UnwrittenRows::new(self.codec.clone());
    }

    /// Writes the unwritten rows as a part.
    pub(super) fn write(&mut self) -> Result<()> {
        if self.unwritten.len() == 0 {
            return Ok(());
        }
        let empty = UnwrittenRows::new(self.codec.clone());
        let rows = std::mem::replace(&mut self.unwritten, empty);
        let path = part::write(&self.folder, rows, &self.fingerprint)?;
        self.lost.remove(&path); // the same rows make the same part again
        let locations = part::locations(&path, &self.fingerprint, &self.codec)?;
        let part = PartFile {
            path,
            verified: true,
        };
        self.add(part, locations);
        Ok(())
    }
}
