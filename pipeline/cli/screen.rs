//! How a run looks on stderr: a bar on a terminal, else a line now and then.
use indicatif::{ProgressBar, ProgressStyle};
use nodes::node::report::{Progress, Report};
use pipeline::report::summary::duration;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Between two plain lines, or this part of the phase.
const PAUSE: Duration = Duration::from_secs(10);
const PART: u64 = 10;

pub struct Screen {
    terminal: bool,
    shown: Mutex<Option<Shown>>,
}

/// The phase that runs.
struct Shown {
    phase: String,
    bar: ProgressBar,
    begun: Instant,
    /// Updates of earlier runs.
    before: u64,
    line: Instant,
    part: u64,
}

impl Screen {
    pub fn new() -> Screen {
        Screen {
            terminal: std::io::stderr().is_terminal(),
            shown: Mutex::new(None),
        }
    }

    /// Leaves the bar as it is; what comes next stands below it.
    pub fn close(&self) {
        self.lock().take().inspect(Shown::leave);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Shown>> {
        self.shown
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
    }

    fn begin(&self, phase: &str, p: &Progress) -> Shown {
        let bar = if self.terminal {
            ProgressBar::new(p.updates)
        } else {
            ProgressBar::hidden()
        };
        let template = if p.updates > 0 {
            "{prefix} {bar:24} {pos}/{len} {msg}"
        } else {
            "{prefix} {pos} {msg}"
        };
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()),
        );
        bar.set_prefix(phase.to_owned());
        let now = Instant::now();
        Shown {
            phase: phase.into(),
            bar,
            begun: now,
            before: p.update.saturating_sub(1),
            line: now,
            part: u64::MAX,
        }
    }
}

impl Shown {
    fn leave(&self) {
        if !self.bar.is_finished() {
            self.bar.abandon();
        }
    }

    /// `loss 0.4321 · sparsity 0.31 of 0.75 · 12.3 s of audio a second · 3 min 5 s left`
    fn text(&self, p: &Progress) -> String {
        let mut text = if p.loss.is_nan() {
            String::new()
        } else {
            format!("loss {:.4} · ", p.loss)
        };
        if let Some((reached, aim)) = p.sparsity {
            text += &format!("sparsity {reached:.3} of {aim:.3} · ");
        }
        text += &format!("{:.1} s of audio a second", p.audio_per_second);
        let done = p.update.saturating_sub(self.before);
        if done > 1 && p.update < p.updates {
            let left = self.begun.elapsed().as_secs_f64() / (done - 1) as f64
                * (p.updates - p.update) as f64;
            text += &format!(" · {} left", duration(left));
        }
        text
    }

    /// Whether a plain line is due: the first, the last, and now and then between.
    fn due(&mut self, p: &Progress) -> bool {
        let part = p.update * PART / p.updates.max(1);
        let due = part != self.part && p.updates > 0
            || self.line.elapsed() >= PAUSE
            || p.update == p.updates;
        if due {
            (self.part, self.line) = (part, Instant::now());
        }
        due
    }
}

impl Report for Screen {
    fn update(&self, phase: &str, p: Progress) {
        let mut shown = self.lock();
        if shown.as_ref().is_none_or(|s| s.phase != phase) {
            shown.take().inspect(Shown::leave);
        }
        let shown = shown.get_or_insert_with(|| self.begin(phase, &p));
        let text = shown.text(&p);
        if !self.terminal {
            if shown.due(&p) {
                let of = if p.updates > 0 {
                    format!("/{}", p.updates)
                } else {
                    String::new()
                };
                let _ = writeln!(std::io::stderr(), "{phase} {}{of} {text}", p.update);
            }
            return;
        }
        shown.bar.set_position(p.update);
        shown.bar.set_message(text);
        if p.update == p.updates {
            shown.bar.abandon();
            let _ = writeln!(std::io::stderr()); // a finished bar leaves the cursor behind it
        }
    }

    fn say(&self, line: &str) {
        match &*self.lock() {
            Some(shown) if self.terminal && !shown.bar.is_finished() => shown.bar.println(line),
            _ => drop(writeln!(std::io::stderr(), "{line}")),
        }
    }
}
