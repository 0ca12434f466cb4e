//! A share of the rows of a phase, for several processes that fill one cache.

/// One of `count` equal shares of a manifest: row k, counted from 0, is in share k mod `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The number of the share, from 0.
    pub index: usize,
    pub count: usize,
}

impl Shard {
    /// Returns whether the row of a manifest, counted from 0, is in this share.
    pub fn has(&self, row: usize) -> bool {
        row % self.count == self.index
    }
}
