//! The progress of a command over files: a bar on a terminal, otherwise a line now and then.
use super::bar::{Bar, Detail, Unit};
use crate::terminal;
use indicatif::{ProgressBar, ProgressStyle};
use nodes::data::printable::printable_lines;
use pipeline::format::duration;
use std::time::{Duration, Instant};

/// The time between two plain lines.
const LINE_PAUSE: Duration = Duration::from_secs(10);

/// Shows how many files are done.
pub(crate) struct FileBar {
    name: &'static str,
    /// `None` where lines cannot be drawn anew.
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl FileBar {
    /// Makes the bar of the command `name`, which shows nothing yet.
    pub(crate) fn new(name: &'static str) -> FileBar {
        let bar = terminal::redraws().then(|| {
            let style = ProgressStyle::with_template("{msg}");
            ProgressBar::no_length().with_style(style.unwrap_or(ProgressStyle::default_bar()))
        });
        FileBar {
            name,
            bar,
            last_line: Instant::now(),
        }
    }

    /// Shows that `done` of `total` files took so many seconds, at this number of seconds of audio a
    /// second.
    pub(crate) fn show(&mut self, done: u64, total: u64, speed: f64, seconds: f64) {
        let left = seconds / done.max(1) as f64 * total.saturating_sub(done) as f64;
        let line = Bar {
            name: self.name,
            done,
            total,
            unit: Unit::Items,
            details: vec![
                Detail::new(1, format!("{speed:.1} s of audio a second")),
                Detail::new(0, format!("{} left", duration(left))),
            ],
        };
        match &self.bar {
            Some(bar) => bar.set_message(line.line(terminal::columns())),
            None if self.last_line.elapsed() >= LINE_PAUSE => {
                self.last_line = Instant::now();
                line.print();
            }
            None => {}
        }
    }

    /// Prints a line above the bar.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(terminal::painted(&printable_lines(line))),
            None => terminal::print_line(line),
        }
    }

    /// Removes the bar: what is printed next says more.
    pub(crate) fn leave(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
