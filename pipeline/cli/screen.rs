//! Progress on stderr: a bar on a terminal, otherwise a line now and then.
use indicatif::{ProgressBar, ProgressStyle};
use nodes::data::printable::printable_lines;
use nodes::node::report::{Progress, Report};
use pipeline::report::format::duration;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A plain line is printed after this time, even if the tenth of the phase is still the same.
const LINE_PAUSE: Duration = Duration::from_secs(10);
/// A plain line is printed when the phase enters another of this many parts.
const LINES_PER_PHASE: u64 = 10;

/// Shows the progress of a run.
pub(crate) struct Screen {
    is_terminal: bool,
    shown: Mutex<Option<PhaseBar>>,
}

/// What is shown of the running phase.
struct PhaseBar {
    phase: String,
    bar: ProgressBar,
    started: Instant,
    /// Updates that an earlier process has done.
    resumed_updates: u64,
    last_line: Instant,
    /// The part of the phase, of [`LINES_PER_PHASE`], that the last line was printed in.
    last_part: u64,
}

impl Screen {
    /// Creates a screen that shows nothing yet.
    pub(crate) fn new() -> Screen {
        Screen {
            is_terminal: std::io::stderr().is_terminal(),
            shown: Mutex::new(None),
        }
    }

    /// Leaves the bar as it is: later output appears below it.
    pub(crate) fn close(&self) {
        if let Some(phase_bar) = self.lock().take() {
            phase_bar.abandon();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<PhaseBar>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PhaseBar {
    /// Starts to show a phase, of which `first` is the first update in this process.
    fn new(phase: &str, first: &Progress, is_terminal: bool) -> PhaseBar {
        let bar = if is_terminal {
            ProgressBar::new(first.updates)
        } else {
            ProgressBar::hidden()
        };
        let template = if first.updates > 0 {
            "{prefix} {bar:24} {pos}/{len} {msg}"
        } else {
            "{prefix} {pos} {msg}"
        };
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or(ProgressStyle::default_bar()));
        bar.set_prefix(phase.to_owned());
        let now = Instant::now();
        PhaseBar {
            phase: phase.into(),
            bar,
            started: now,
            resumed_updates: first.update.saturating_sub(1),
            last_line: now,
            last_part: u64::MAX,
        }
    }

    fn abandon(&self) {
        if !self.bar.is_finished() {
            self.bar.abandon();
        }
    }

    /// Formats the progress:
    /// `loss 0.4321 · sparsity 0.31 of 0.75 · 12.3 s of audio a second · 3 min 5 s left`.
    fn text(&self, progress: &Progress) -> String {
        let mut text = String::new();
        if !progress.loss.is_nan() {
            text += &format!("loss {:.4} · ", progress.loss);
        }
        if let Some((expected, target)) = progress.sparsity {
            text += &format!("sparsity {expected:.3} of {target:.3} · ");
        }
        text += &format!("{:.1} s of audio a second", progress.audio_per_second);
        let done = progress.update.saturating_sub(self.resumed_updates);
        if done > 1 && progress.update < progress.updates {
            // The clock started at the end of the first update.
            let seconds_per_update = self.started.elapsed().as_secs_f64() / (done - 1) as f64;
            let seconds_left = seconds_per_update * (progress.updates - progress.update) as f64;
            text += &format!(" · {} left", duration(seconds_left));
        }
        text
    }

    /// Returns whether a plain line is due, and if so expects the next one later.
    fn line_is_due(&mut self, progress: &Progress) -> bool {
        let part = progress.update * LINES_PER_PHASE / progress.updates.max(1);
        let is_due = part != self.last_part && progress.updates > 0
            || self.last_line.elapsed() >= LINE_PAUSE
            || progress.update == progress.updates;
        if is_due {
            self.last_part = part;
            self.last_line = Instant::now();
        }
        is_due
    }

    fn print_line(&self, progress: &Progress) {
        let phase = &self.phase;
        let update = progress.update;
        let total = if progress.updates > 0 {
            format!("/{}", progress.updates)
        } else {
            String::new()
        };
        let text = self.text(progress);
        let _ = writeln!(std::io::stderr(), "{phase} {update}{total} {text}");
    }

    fn draw(&self, progress: &Progress) {
        self.bar.set_position(progress.update);
        self.bar.set_message(self.text(progress));
        if progress.update == progress.updates {
            self.bar.abandon();
            let _ = writeln!(std::io::stderr()); // a finished bar leaves the cursor behind it
        }
    }
}

impl Report for Screen {
    fn update(&self, phase: &str, progress: Progress) {
        let mut shown = self.lock();
        if let Some(finished) = shown.take_if(|phase_bar| phase_bar.phase != phase) {
            finished.abandon();
        }
        let phase_bar =
            shown.get_or_insert_with(|| PhaseBar::new(phase, &progress, self.is_terminal));
        if self.is_terminal {
            phase_bar.draw(&progress);
        } else if phase_bar.line_is_due(&progress) {
            phase_bar.print_line(&progress);
        }
    }

    fn say(&self, line: &str) {
        let line = &*printable_lines(line);
        match &*self.lock() {
            Some(phase_bar) if self.is_terminal && !phase_bar.bar.is_finished() => {
                phase_bar.bar.println(line);
            }
            _ => drop(writeln!(std::io::stderr(), "{line}")),
        }
    }
}
