//! Progress on stderr: a bar on a terminal, otherwise a line now and then.
mod answer;
mod bar;
pub(crate) mod file_bar;
mod phase_bar;

use crate::terminal;
use answer::Activity;
use nodes::node::Clock;
use nodes::node::report::{Progress, Report};
use nodes::node::step::StepInfo;
use phase_bar::PhaseBar;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shows the progress of a run.
pub(crate) struct Screen {
    redraws: bool,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    phase: Option<PhaseBar>,
    activity: Activity,
}

impl Screen {
    /// Creates a screen that shows nothing yet.
    pub(crate) fn new() -> Screen {
        Screen {
            redraws: terminal::redraws(),
            shown: Mutex::default(),
        }
    }

    /// Leaves the bar as it is: later output appears below it.
    pub(crate) fn close(&self) {
        if let Some(phase) = self.lock().phase.take() {
            phase.leave();
        }
    }

    /// Answers a signal that asks the run to stop. `is_last_warning` tells that the next one of its
    /// kind ends the process.
    pub(crate) fn answer_signal(&self, is_last_warning: bool) {
        let shown = self.lock();
        let mut line = shown.activity.answer();
        if is_last_warning {
            line += "; again to stop now";
        }
        shown.say(&line);
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    /// Returns what is shown of a phase; what was shown of another one stays above it.
    fn phase(&mut self, name: &str, redraws: bool, clock: &Clock) -> &mut PhaseBar {
        if let Some(other) = self.phase.take_if(|phase| phase.name != name) {
            other.leave();
        }
        self.phase
            .get_or_insert_with(|| PhaseBar::new(name, redraws, clock))
    }

    fn say(&self, line: &str) {
        match &self.phase {
            Some(phase) => phase.say(line),
            None => terminal::print_line(line),
        }
    }
}

impl Report for Screen {
    fn phase_started(&self, phase: &str, clock: &Clock) {
        let mut shown = self.lock();
        shown.activity = Activity::Opening {
            trains: clock.updates.is_some(),
        };
        shown.phase(phase, self.redraws, clock).open();
    }

    fn step_started(&self, phase: &str, step: &StepInfo) {
        let mut shown = self.lock();
        let Some(phase) = shown.phase.as_mut().filter(|shown| shown.name == phase) else {
            return;
        };
        phase.begin_step(step);
        shown.activity = Activity::in_step(step, phase.updates);
    }

    fn update(&self, phase: &str, progress: Progress) {
        let mut shown = self.lock();
        let clock = Clock {
            updates: (progress.updates > 0).then_some(progress.updates),
            accumulate: 1,
            checkpoint_every: 1,
            from: progress.update.saturating_sub(1),
        };
        let phase = shown.phase(phase, self.redraws, &clock);
        phase.show(progress);
        if progress.updates > 0 && progress.update >= progress.updates {
            shown.activity = Activity::Ending;
        }
    }

    fn say(&self, line: &str) {
        self.lock().say(line);
    }
}
