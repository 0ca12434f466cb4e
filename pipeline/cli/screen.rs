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
    /// Whether a bar is drawn; elsewhere lines are printed now and then.
    pub(crate) redraws: bool,
    /// Whether the bar of a phase that is done stays on the terminal.
    keeps_bars: bool,
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
            keeps_bars: true,
            shown: Mutex::default(),
        }
    }

    /// Creates a screen for many short runs, whose bars vanish when they are done.
    pub(crate) fn without_history() -> Screen {
        Screen {
            keeps_bars: false,
            ..Screen::new()
        }
    }

    /// Ends the bar: later output appears below it, or in its place.
    pub(crate) fn close(&self) {
        if let Some(phase) = self.lock().phase.take() {
            self.end(phase);
        }
    }

    /// Ends the bar of a phase.
    fn end(&self, phase: PhaseBar) {
        match self.keeps_bars {
            true => phase.leave(),
            false => phase.vanish(),
        }
    }

    /// Returns the bar of a phase; that of another one ends.
    fn bar_of<'a>(&self, shown: &'a mut Shown, name: &str, clock: &Clock) -> &'a mut PhaseBar {
        if let Some(other) = shown.phase.take_if(|phase| phase.name != name) {
            self.end(other);
        }
        let new = || PhaseBar::new(name, self.redraws, clock);
        shown.phase.get_or_insert_with(new)
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
        self.bar_of(&mut shown, phase, clock).open();
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
        self.bar_of(&mut shown, phase, &clock).show(progress);
        if progress.updates > 0 && progress.update >= progress.updates {
            shown.activity = Activity::Ending;
        }
    }

    fn say(&self, line: &str) {
        self.lock().say(line);
    }
}
