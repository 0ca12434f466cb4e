//! The parts of a layer: which are there, and which of them cannot be used.
use super::{EntryLocation, LayerStore, PartFile};
use crate::cache::part::{self, RowLocation};
use crate::cache::rows::RowKey;
use crate::data::store;
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

impl LayerStore {
    /// Indexes the parts that are there, but for lost ones.
    pub(super) fn index_parts(&mut self) -> Result<()> {
        let paths = part::list(&self.folder)?;
        let verified = self.parts.iter().filter(|part| part.verified);
        let verified: HashSet<PathBuf> = verified.map(|part| part.path.clone()).collect();
        self.forget_parts();
        let mut paths = paths;
        paths.retain(|path| !self.lost.contains(path));
        let locate = |path: &PathBuf| part::locations(path, &self.fingerprint, &self.codec);
        let found: Vec<_> = match store::is_address(&self.folder) {
            true => store::in_parallel(&self.folder, || paths.par_iter().map(locate).collect()),
            false => paths.iter().map(locate).collect(),
        };
        for (path, locations) in paths.into_iter().zip(found) {
            match locations {
                Ok(locations) => {
                    let verified = verified.contains(&path);
                    self.add(PartFile { path, verified }, locations);
                }
                Err(error) => self.set_aside(path, error),
            }
        }
        Ok(())
    }

    /// Indexes a part. Of equal rows the first is kept, and a row that was unwritten is now in this
    /// part.
    pub(super) fn add(&mut self, part: PartFile, locations: Vec<(RowKey, RowLocation)>) {
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

    /// Drops a part that cannot be read, and indexes the others anew: they may have its rows.
    pub(super) fn lose_part(&mut self, number: u32, error: Error) {
        let path = self.parts[number as usize].path.clone();
        if is_not_found(&error) {
            self.lost.insert(path);
        } else {
            self.set_aside(path, error);
        }
        if self.index_parts().is_err() {
            self.forget_parts();
        }
    }

    /// Forgets all parts.
    pub(super) fn forget_parts(&mut self) {
        self.index
            .retain(|_, location| matches!(location, EntryLocation::Unwritten(_)));
        self.parts.clear();
    }

    /// Reports a part that cannot be used, and renames it if it is damaged. A file that could not
    /// be read may be intact, and keeps its name.
    pub(super) fn set_aside(&mut self, path: PathBuf, error: Error) {
        self.lost.insert(path.clone());
        let is_damaged = match store::is_address(&path) {
            // An answer that was lost looks like a damaged footer; all bytes together tell.
            true => part::verify(&path).is_err_and(|error| !error.is::<std::io::Error>()),
            false => !error.is::<std::io::Error>(),
        };
        let is_renamed = is_damaged && rename_damaged(&path).is_ok();
        let path = path.display();
        if !is_renamed {
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
}

/// Gives a damaged part a name by which no run takes it for a part.
pub(in crate::cache) fn rename_damaged(path: &Path) -> std::io::Result<()> {
    store::rename(path, &path.with_extension("parquet.damaged"))
}

fn is_not_found(error: &Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::NotFound)
}
