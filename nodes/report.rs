//! How a run speaks to whoever watches it. Nodes say what happened; bars and lines are the caller's.

/// Where a phase stands after an update.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub update: u64,
    pub updates: u64,
    pub loss: f32,
    /// Expected and aimed at, where something is pruned.
    pub sparsity: Option<(f32, f32)>,
    /// Seconds of audio in this update.
    pub audio_seconds: f64,
    /// Seconds of audio a second of time, over the last updates.
    pub audio_per_second: f32,
}

pub trait Report: Send + Sync {
    fn update(&self, phase: &str, progress: Progress);
    /// One line for a person.
    fn say(&self, line: &str);
}
