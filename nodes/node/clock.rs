//! When a phase begins and ends.

/// The range of updates of a phase.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Updates of the phase; `None` if it ends after the source's `views` epochs.
    pub updates: Option<u64>,
    /// Batches of an update.
    pub accumulate: u64,
    pub checkpoint_every: u64,
    /// Updates that a resumed checkpoint has done already.
    pub from: u64,
}
