//! Parts that other ranks of the run write while it goes on.
use super::super::part;
use super::{LayerStore, PartFile};
use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

impl LayerStore {
    /// Indexes the parts that other ranks have written since the last look. Returns whether there
    /// are any; without other ranks there are none, since processes of other runs are not waited
    /// for.
    ///
    /// A look costs a system call as long as the folder has not changed.
    pub(super) fn add_parts_of_others(&mut self) -> bool {
        if self.context.run.ranks.count() == 1 {
            return false;
        }
        let changed = fs::metadata(&self.folder).and_then(|folder| folder.modified());
        let changed = changed.ok();
        if changed == self.looked_at {
            return false;
        }
        self.looked_at = changed;
        let known = self.parts.iter().map(|part| &part.path);
        let known: HashSet<PathBuf> = known.chain(&self.lost).cloned().collect();
        let mut paths = part::list(&self.folder).unwrap_or_default();
        paths.retain(|path| !known.contains(path));
        let before = self.parts.len();
        for path in paths {
            match part::locations(&path, &self.fingerprint, &self.codec) {
                Ok(locations) => self.add(
                    PartFile {
                        path,
                        verified: false,
                    },
                    locations,
                ),
                Err(error) if part::is_gone(&error) => {} // merged: its rows are in another
                Err(error) => self.set_aside(path, error),
            }
        }
        self.parts.len() > before
    }
}
