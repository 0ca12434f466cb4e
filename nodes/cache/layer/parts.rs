//! The parts of a layer: which are there, and which of them cannot be used.
use super::{EntryLocation, LayerStore, PartFile};
use crate::cache::part::{self, RowLocation};
use crate::cache::rows::RowKey;
use crate::data::store;
use crate::{Error, Result};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// How often parts are listed at most while others merge them.
const LISTINGS: usize = 5;

/// A part, and where its rows are.
type Located = (PathBuf, Result<Vec<(RowKey, RowLocation)>>);

impl LayerStore {
    /// Indexes the parts that are there, but for lost ones. If one is gone when it is opened, since another
    /// process merges parts, those that are there then are listed again.
    pub(super) fn index_parts(&mut self) -> Result<()> {
        let verified = self.parts.iter().filter(|part| part.verified);
        let verified: HashSet<PathBuf> = verified.map(|part| part.path.clone()).collect();
        let mut found = self.locate_parts()?;
        for _ in 1..LISTINGS {
            let is_gone = |(_, located): &Located| located.as_ref().is_err_and(part::is_gone);
            if !found.iter().any(is_gone) {
                break;
            }
            found = self.locate_parts()?;
        }
        self.forget_parts();
        for (path, locations) in found {
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

    /// Reads where the rows of the parts are, but for lost ones.
    fn locate_parts(&self) -> Result<Vec<Located>> {
        let mut paths = part::list(&self.folder)?;
        paths.retain(|path| !self.lost.contains(path));
        let locate = |path: PathBuf| {
            let locations = part::locations(&path, &self.fingerprint, &self.codec);
            (path, locations)
        };
        Ok(store::map_files(&self.folder, paths, locate))
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
        if part::is_gone(&error) {
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

    /// Reports a part that cannot be used, and renames it if it is damaged.
    pub(super) fn set_aside(&mut self, path: PathBuf, error: Error) {
        self.lost.insert(path.clone());
        let is_renamed = rename_damaged(&path);
        let path = path.display();
        let says = match is_renamed {
            true => format!("is damaged: {error}; it is now called *.damaged, and"),
            false => format!("cannot be used: {error};"),
        };
        let line = format!("the cache's {path} {says} its rows count as missing");
        self.context.say(line);
    }
}

/// Gives a part a name by which no run takes it for a part, if it is damaged: another process may have
/// written it anew. Returns whether it has that name now.
pub(in crate::cache) fn rename_damaged(path: &Path) -> bool {
    part::is_damaged(path) && store::rename(path, &path.with_extension("parquet.damaged")).is_ok()
}
