//! How a run speaks to whoever watches it. Nodes say what happened; bars and lines are the caller's.

use crate::node::step::StepInfo;
use compute::gemm::Precision;
use std::time::Duration;

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

/// What a node tells of a step, besides its time: only a benchmark listens.
#[derive(Clone, Copy, Debug)]
pub enum Measurement {
    /// Multiply-accumulates of its products, and of those that its backward pass will do.
    Products { precision: Precision, macs: u64 },
    /// The backward pass is over and took so long.
    Backward(Duration),
}

pub trait Report: Send + Sync {
    fn update(&self, phase: &str, progress: Progress);
    /// One line for a person.
    fn say(&self, line: &str);
    fn record(&self, _node: &str, _head: &StepInfo, _told: Measurement) {}
}
