//! What the run does when a signal asks it to stop.
use nodes::node::step::StepInfo;

/// What a run is doing.
#[derive(Clone, Copy, Default)]
pub(super) enum Activity {
    /// Something that this screen was not told of.
    #[default]
    Unknown,
    /// A phase begins: nodes are built, no step has begun.
    Opening { trains: bool },
    /// A batch of a phase without an optimizer.
    Batch(u64),
    /// An update, of so many.
    Update { update: u64, updates: u64 },
    /// A pass over the dev set.
    Dev,
    /// The last update is done: models are written.
    Ending,
}

impl Activity {
    /// Returns what a step does; `updates` is 0 without an optimizer.
    pub(super) fn in_step(step: &StepInfo, updates: u64) -> Activity {
        match step.update {
            update if updates == 0 => Activity::Batch(update),
            _ if step.dev => Activity::Dev,
            update => Activity::Update { update, updates },
        }
    }

    /// Returns what happens after a signal.
    pub(super) fn answer(self) -> String {
        match self {
            Activity::Unknown => "finishing the running step".into(),
            Activity::Opening { trains: true } => {
                "finishing the first step, then a checkpoint".into()
            }
            Activity::Opening { trains: false } => "finishing the first batch".into(),
            Activity::Batch(batch) => format!("finishing batch {batch}"),
            Activity::Update { update, updates } => {
                format!("finishing update {update} of {updates}, then a checkpoint")
            }
            Activity::Dev => "leaving the pass over the dev set, then a checkpoint".into(),
            Activity::Ending => "finishing the phase, whose models are being written".into(),
        }
    }
}
