//! What is shown of the running phase.
use super::bar::{Bar, Detail, Unit};
use crate::terminal;
use indicatif::{ProgressBar, ProgressStyle};
use nodes::data::printable::printable_lines;
use nodes::node::Clock;
use nodes::node::report::Progress;
use nodes::node::step::StepInfo;
use pipeline::format::duration;
use std::io::Write;
use std::time::{Duration, Instant};

/// A plain line is printed after this time, even if the tenth of the phase is still the same.
const LINE_PAUSE: Duration = Duration::from_secs(10);
/// A plain line is printed when the phase enters another of this many parts.
const LINES_PER_PHASE: u64 = 10;
/// How often the seconds behind a bar without news are drawn anew.
const TICK: Duration = Duration::from_millis(250);
/// The columns that these seconds take.
const ELAPSED_COLUMNS: usize = 8;

/// The progress of a phase, as a bar or in lines.
pub(super) struct PhaseBar {
    pub(super) name: String,
    /// 0 if it is not known.
    pub(super) updates: u64,
    /// `None` where lines cannot be drawn anew.
    bar: Option<ProgressBar>,
    /// Updates that an earlier process has done.
    resumed_updates: u64,
    /// The last update that is done, and when the first one was.
    done: Option<Progress>,
    first_update_end: Instant,
    /// What was last said about a step before the first update or after the last one.
    waits_for: Option<String>,
    last_line: Instant,
    /// The part of the phase, of [`LINES_PER_PHASE`], that the last line was printed in.
    last_part: u64,
}

impl PhaseBar {
    /// Makes the bar of a phase without drawing it.
    pub(super) fn new(name: &str, redraws: bool, clock: &Clock) -> PhaseBar {
        let now = Instant::now();
        PhaseBar {
            name: name.to_owned(),
            updates: clock.updates.unwrap_or(0),
            bar: redraws.then(ProgressBar::no_length),
            resumed_updates: clock.from,
            done: None,
            first_update_end: now,
            waits_for: None,
            last_line: now,
            last_part: u64::MAX,
        }
    }

    /// Shows that the phase begins.
    pub(super) fn open(&mut self) {
        if self.bar.is_some() {
            self.wait("opening the data");
        }
    }

    /// Shows a step that no update precedes or follows in this process: before the first update and
    /// after the last one there is nothing else to see.
    pub(super) fn begin_step(&mut self, step: &StepInfo) {
        let is_after_last = self.done.is_some_and(|done| done.update >= self.updates);
        let text = if self.updates == 0 || self.done.is_some() && !step.dev {
            return;
        } else if step.dev {
            "measuring the dev set".to_owned()
        } else if step.update == 1 {
            "first update".to_owned()
        } else {
            format!("update {}", step.update)
        };
        // Without a bar, dev passes between updates need no lines.
        if self.bar.is_some() || self.done.is_none() || is_after_last {
            self.wait(&text);
        }
    }

    /// Shows what the phase waits for.
    fn wait(&mut self, text: &str) {
        let text = format!("{text} ...");
        if self.waits_for.as_ref() == Some(&text) {
            return;
        }
        let line = Bar {
            name: &self.name,
            done: self.done.map_or(self.resumed_updates, |done| done.update),
            total: self.updates,
            unit: Unit::Items,
            details: vec![Detail::new(0, text.as_str())],
        };
        match &self.bar {
            Some(bar) => {
                bar.set_style(style("{msg} {elapsed}"));
                bar.reset_elapsed();
                let columns = terminal::columns().saturating_sub(ELAPSED_COLUMNS);
                bar.set_message(line.line(columns));
                bar.enable_steady_tick(TICK);
            }
            None => line.print(),
        }
        self.waits_for = Some(text);
    }

    /// Shows an update that is done.
    pub(super) fn show(&mut self, progress: Progress) {
        self.updates = progress.updates;
        if self.done.replace(progress).is_none() {
            self.first_update_end = Instant::now();
        }
        self.waits_for = None;
        if self.bar.is_none() && !self.line_is_due(&progress) {
            return;
        }
        self.draw(&progress);
    }

    fn draw(&self, progress: &Progress) {
        let (done, total, unit) = count(progress);
        let line = Bar {
            name: &self.name,
            done,
            total,
            unit,
            details: self.details(progress),
        };
        match &self.bar {
            Some(bar) => {
                bar.disable_steady_tick();
                bar.set_style(style("{msg}"));
                bar.set_message(line.line(terminal::columns()));
            }
            None => line.print(),
        }
    }

    fn details(&self, progress: &Progress) -> Vec<Detail> {
        let mut details = vec![];
        if !progress.loss.is_nan() {
            details.push(Detail::new(1, format!("loss {:.4}", progress.loss)));
        }
        if let Some((expected, target)) = progress.sparsity {
            let text = format!("sparsity {expected:.3} of {target:.3}");
            details.push(Detail::new(2, text));
        }
        let speed = format!("{:.1} s of audio a second", progress.audio_per_second);
        details.push(Detail::new(3, speed));
        if let Some(seconds) = self.seconds_left(progress) {
            details.push(Detail::new(0, format!("{} left", duration(seconds))));
        }
        details
    }

    /// Estimates the time that the rest of the phase takes; `None` if nothing tells it, or if
    /// nothing is left.
    fn seconds_left(&self, progress: &Progress) -> Option<f64> {
        if let Some(audio) = progress.audio {
            let left = audio.of_seconds - audio.seconds;
            return (left > 0.0).then(|| left / progress.audio_per_second as f64);
        }
        let done = progress.update.saturating_sub(self.resumed_updates);
        if done < 2 || progress.update >= progress.updates {
            return None;
        }
        // The clock started at the end of the first update.
        let seconds = self.first_update_end.elapsed().as_secs_f64();
        let left = (progress.updates - progress.update) as f64;
        Some(seconds / (done - 1) as f64 * left)
    }

    /// Returns whether a plain line is due, and if so expects the next one later.
    fn line_is_due(&mut self, progress: &Progress) -> bool {
        let (done, total, _) = count(progress);
        let part = done * LINES_PER_PHASE / total.max(1);
        let is_due = part != self.last_part && total > 0
            || self.last_line.elapsed() >= LINE_PAUSE
            || done == total;
        if is_due {
            self.last_part = part;
            self.last_line = Instant::now();
        }
        is_due
    }

    /// Prints a line above the bar.
    pub(super) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(terminal::painted(&printable_lines(line))),
            None => terminal::print_line(line),
        }
    }

    /// Clears the bar.
    pub(super) fn vanish(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Leaves the bar as the last update made it, and goes to the line below.
    pub(super) fn leave(self) {
        let Some(bar) = &self.bar else { return };
        match &self.done {
            Some(progress) => {
                self.draw(progress);
                bar.abandon();
                let _ = writeln!(std::io::stderr()); // the cursor stands behind the bar
            }
            None => bar.finish_and_clear(),
        }
    }
}

/// Returns what is done of a phase and what there is in all: updates, or audio where nothing is
/// trained.
fn count(progress: &Progress) -> (u64, u64, Unit) {
    match progress.audio {
        Some(audio) => {
            let whole = |seconds: f64| seconds.round() as u64;
            let unit = Unit::AudioSeconds;
            (whole(audio.seconds), whole(audio.of_seconds), unit)
        }
        None => (progress.update, progress.updates, Unit::Items),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar())
}
