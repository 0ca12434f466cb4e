//! The numbers that travel with every batch.

/// The position of a step in its phase.
///
/// The source makes it and it precedes every batch, so all stages see the same.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct StepInfo {
    /// The number of train batches before this one in the phase.
    pub step: u64,
    /// The update that a train batch belongs to, from 1; for a dev batch the update after which the
    /// dev set is measured.
    pub update: u64,
    pub epoch: u64,
    /// The number of batches before this one in its epoch or dev pass.
    pub batch: u64,
    /// Whether the batch is from the dev set.
    pub dev: bool,
    /// Whether the batch is the last of its update, or of its dev pass.
    pub closes: bool,
    /// Whether a checkpoint is due after this step.
    pub checkpoint: bool,
    /// Whether the phase ends after this step.
    pub last: bool,
    /// The number of samples in all rows together.
    pub samples: u64,
}
