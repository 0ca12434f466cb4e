//! What a benchmark records while the phase runs: the steps of the nodes, and what nodes measure.
use super::WARM_UP;
use crate::screen::Screen;
use compute::allocated_bytes::allocated_bytes;
use nodes::node::report::{Measurement, Progress, Report};
use nodes::node::step::StepInfo;
use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A node's name and what it measured in a timed step.
pub(super) type Measured<'a> = (&'a str, Measurement);

/// Everything recorded of a phase, in the order in which it happened.
#[derive(Default)]
pub(super) struct StepRecording {
    steps: Mutex<Vec<NodeStep>>,
    measurements: Mutex<Vec<NodeMeasurement>>,
}

/// A step of one node.
pub(super) struct NodeStep {
    pub(super) node: String,
    pub(super) info: StepInfo,
    pub(super) finished: Instant,
    pub(super) duration: Duration,
    /// Bytes that the stage's thread has allocated since the stage began the step.
    pub(super) retained_bytes: isize,
}

/// What a node measured in a step.
pub(super) struct NodeMeasurement {
    pub(super) node: String,
    pub(super) info: StepInfo,
    pub(super) measurement: Measurement,
}

thread_local! {
    /// [`allocated_bytes`] when this thread's stage began its step.
    static BYTES_AT_START: Cell<isize> = const { Cell::new(0) };
}

/// Notes that the calling thread's stage begins a step.
pub(super) fn mark_step_start() {
    BYTES_AT_START.set(allocated_bytes());
}

impl StepRecording {
    /// Records that a node has finished a step, in the thread of its stage.
    pub(super) fn add_step(&self, node: &str, info: StepInfo, duration: Duration) {
        let retained_bytes = allocated_bytes() - BYTES_AT_START.get();
        let step = NodeStep {
            node: node.into(),
            info,
            finished: Instant::now(),
            duration,
            retained_bytes,
        };
        lock(&self.steps).push(step);
    }

    /// Returns all steps.
    pub(super) fn steps(&self) -> MutexGuard<'_, Vec<NodeStep>> {
        lock(&self.steps)
    }

    /// Returns all measurements.
    pub(super) fn measurements(&self) -> MutexGuard<'_, Vec<NodeMeasurement>> {
        lock(&self.measurements)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows the progress on the screen and records the measurements of nodes.
pub(super) struct BenchReport {
    /// `None` on all ranks but the first.
    pub(super) screen: Option<Arc<Screen>>,
    pub(super) recording: Arc<StepRecording>,
    pub(super) timed_updates: u64,
}

/// Returns the progress among the timed updates: `None` of those that warm up, and of those behind,
/// which only keep stages that run ahead from being idle.
fn timed_progress(progress: Progress, timed_updates: u64) -> Option<Progress> {
    let update = progress.update.checked_sub(WARM_UP)?;
    let timed = Progress {
        update,
        updates: timed_updates,
        ..progress
    };
    (1..=timed_updates).contains(&update).then_some(timed)
}

impl Report for BenchReport {
    fn update(&self, phase: &str, progress: Progress) {
        let timed = timed_progress(progress, self.timed_updates);
        if let (Some(screen), Some(progress)) = (&self.screen, timed) {
            screen.update(phase, progress);
        }
    }
    fn say(&self, line: &str) {
        if let Some(screen) = &self.screen {
            screen.say(line);
        }
    }
    fn record(&self, node: &str, info: &StepInfo, measurement: Measurement) {
        let measurement = NodeMeasurement {
            node: node.into(),
            info: *info,
            measurement,
        };
        lock(&self.recording.measurements).push(measurement);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_counts_timed_updates_alone() {
        let progress = |update: u64| Progress {
            update,
            updates: 99,
            loss: 0.5,
            sparsity: None,
            audio_seconds: 1.0,
            audio_per_second: 1.0,
            audio: None,
        };
        let shown = |update: u64| {
            let timed = timed_progress(progress(update), 3)?;
            Some((timed.update, timed.updates))
        };
        let found: Vec<_> = (0..=8).map(shown).collect();
        let timed = [Some((1, 3)), Some((2, 3)), Some((3, 3))];
        assert_eq!(found[..3], [None; 3]);
        assert_eq!(found[3..6], timed);
        assert_eq!(found[6..], [None; 3]);
    }
}
