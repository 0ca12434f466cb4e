//! The stored rows of one layer: an index of its parts, and rows that are in no part yet.
use super::fingerprint::Fingerprint;
use super::part::{self, RowLocation};
use super::rows::{RowKey, UnwrittenRows};
use super::stored_rows;
use crate::data::entry::Entry;
use crate::node::row_counts::RowCounts;
use crate::node::{NodeContext, StoredEntry};
use crate::{Error, Result};
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

/// Rows become a part, of one row group, when they have this many bytes.
const PART_BYTES: usize = 64 << 20;

const ROWS: &str = "rows";
const LOGITS: &str = "logits";
const LAYER: &str = "layer-";

/// Returns the name of the folder of entries.
pub(super) fn folder_name(entry: StoredEntry) -> String {
    match entry {
        StoredEntry::Layer(layer) => format!("{LAYER}{layer:02}"),
        StoredEntry::Logits => LOGITS.into(),
        StoredEntry::Rows => ROWS.into(),
    }
}

/// Returns what is in a folder of this name; `None` if it is no folder of entries.
pub(super) fn entry_of_folder(name: &str) -> Option<StoredEntry> {
    match name {
        ROWS => Some(StoredEntry::Rows),
        LOGITS => Some(StoredEntry::Logits),
        _ => {
            let layer = name.strip_prefix(LAYER)?.parse().ok()?;
            Some(StoredEntry::Layer(layer))
        }
    }
}

/// The rows of one layer, of logits, or of a kind without layers.
pub(super) struct LayerStore {
    folder: PathBuf,
    fingerprint: Fingerprint,
    context: NodeContext,
    parts: Vec<PartFile>,
    index: HashMap<RowKey, EntryLocation>,
    unwritten: UnwrittenRows,
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
        context: &NodeContext,
    ) -> Result<LayerStore> {
        let paths = part::list(&folder)?;
        let mut store = LayerStore {
            folder,
            fingerprint,
            context: context.clone(),
            parts: vec![],
            index: HashMap::new(),
            unwritten: UnwrittenRows::default(),
        };
        for path in paths {
            let part = PartFile {
                path,
                verified: false,
            };
            match part::locations(&part.path, &store.fingerprint) {
                Ok(locations) => store.add(part, locations),
                Err(error) => store.set_aside(&part, error),
            }
        }
        Ok(store)
    }

    /// Indexes a part. Of equal rows the first is kept, and a row that was unwritten is now in this
    /// part.
    fn add(&mut self, part: PartFile, locations: Vec<(RowKey, RowLocation)>) {
        let number = self.parts.len() as u32;
        for (key, location) in locations {
            let in_part = EntryLocation::Part(number, location);
            let indexed = self.index.entry(key).or_insert(in_part);
            if let EntryLocation::Unwritten(_) = indexed {
                *indexed = in_part;
            }
        }
        self.parts.push(part);
    }

    /// Returns the rows of all parts, by name and length.
    pub(super) fn row_counts(&self) -> RowCounts {
        stored_rows::count(&self.folder)
    }

    /// Returns the entry of a row, if it is stored. If its part turns out to be damaged, all rows
    /// of the part are missing from then on.
    pub(super) fn get(&mut self, key: &RowKey) -> Option<Entry> {
        match *self.index.get(key)? {
            EntryLocation::Unwritten(row) => Some(self.unwritten.entry(row)),
            EntryLocation::Part(number, location) => match self.read(number, location) {
                Ok(entry) => Some(entry),
                Err(error) => {
                    self.drop_part(number, error);
                    None
                }
            },
        }
    }

    fn read(&mut self, number: u32, location: RowLocation) -> Result<Entry> {
        let part = &mut self.parts[number as usize];
        if !part.verified {
            part::verify(&part.path)?;
            part.verified = true;
        }
        Ok(part::read(&part.path, location)?)
    }

    fn drop_part(&mut self, number: u32, error: Error) {
        self.index
            .retain(|_, location| !matches!(location, EntryLocation::Part(n, _) if *n == number));
        self.set_aside(&self.parts[number as usize], error);
    }

    /// Reports a part that cannot be used, and renames it if it is damaged. A file that could not
    /// be read may be intact, and keeps its name.
    fn set_aside(&self, part: &PartFile, error: Error) {
        let path = part.path.display();
        let damaged = part.path.with_extension("parquet.damaged");
        if error.is::<std::io::Error>() || fs::rename(&part.path, &damaged).is_err() {
            self.context.say(format!(
                "the cache's {path} cannot be used: {error}; its rows count as missing"
            ));
        } else {
            self.context.say(format!(
                "the cache's {path} is damaged: {error}; it is now called *.damaged, and its rows \
                 count as missing"
            ));
        }
    }

    /// Keeps a row to be written, unless it is stored already: a batch may have the same samples
    /// twice.
    pub(super) fn put(
        &mut self,
        key: RowKey,
        id: &str,
        samples: usize,
        entry: &Entry,
    ) -> Result<()> {
        if self.index.contains_key(&key) {
            return Ok(());
        }
        let row = self.unwritten.len();
        self.unwritten.push(key, id, samples, entry)?;
        self.index.insert(key, EntryLocation::Unwritten(row));
        Ok(())
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
        self.unwritten = UnwrittenRows::default();
    }

    /// Writes the unwritten rows as a part.
    pub(super) fn write(&mut self) -> Result<()> {
        if self.unwritten.len() == 0 {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.unwritten);
        let path = part::write(&self.folder, rows, &self.fingerprint)?;
        let locations = part::locations(&path, &self.fingerprint)?;
        let part = PartFile {
            path,
            verified: true,
        };
        self.add(part, locations);
        Ok(())
    }
}
