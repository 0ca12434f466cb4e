//! What a run reports while it goes on. Nodes report events; how they are shown is up to the
//! program.
use crate::node::clock::Clock;
use crate::node::step_info::StepInfo;
use compute::gemm::Precision;
use std::time::Duration;

/// The state of a phase after an update.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub update: u64,
    /// The number of updates of the phase.
    pub updates: u64,
    pub loss: f32,
    /// The expected sparsity and its target, if something is pruned.
    pub sparsity: Option<(f32, f32)>,
    /// Seconds of audio in this update.
    pub audio_seconds: f64,
    /// Seconds of audio processed per second: over this update, or over the last minute in a phase
    /// that nothing trains.
    pub audio_per_second: f32,
    /// The audio that is done in a phase that nothing trains, if its length is known.
    pub audio: Option<AudioDone>,
}

/// How much audio of a phase is done, rows that a cache had included.
#[derive(Clone, Copy, Debug)]
pub struct AudioDone {
    pub seconds: f64,
    /// The seconds of the whole phase.
    pub of_seconds: f64,
}

/// What a node measured during a step, besides its time. Only `bench` uses it.
#[derive(Clone, Copy, Debug)]
pub enum Measurement {
    /// The multiply-accumulates of the node's matrix products, forward and backward.
    Products { precision: Precision, macs: u64 },
    /// The duration of the backward pass.
    Backward(Duration),
    /// How long a rank has waited for the others, and for gradients to be exchanged.
    Exchange { waiting: Duration, adding: Duration },
}

/// Receives what happens in a run.
pub trait Report: Send + Sync {
    /// Receives that a phase begins, before its nodes are built.
    fn phase_started(&self, _phase: &str, _clock: &Clock) {}
    /// Receives that the stage which completes steps begins one.
    fn step_started(&self, _phase: &str, _step: &StepInfo) {}
    /// Receives the state of a phase after an update.
    fn update(&self, phase: &str, progress: Progress);
    /// Receives a line of text for the person who watches the run.
    fn say(&self, line: &str);
    /// Receives a measurement of a node in a step.
    fn record(&self, _node: &str, _step: &StepInfo, _measurement: Measurement) {}
}

/// Keeps the lines that a test's nodes report.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct ReportedLines(std::sync::Mutex<Vec<String>>);

#[cfg(test)]
impl ReportedLines {
    /// Returns the lines so far, and forgets them.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[cfg(test)]
impl Report for ReportedLines {
    fn update(&self, _: &str, _: Progress) {}
    fn say(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}
