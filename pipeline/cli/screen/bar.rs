//! The text of a progress bar, made for the width of a terminal.

use std::io::Write;

/// A bar with fewer cells says nothing.
const MIN_CELLS: usize = 6;

/// What a bar shows.
pub(crate) struct Bar<'a> {
    pub(crate) name: &'a str,
    pub(crate) done: u64,
    /// 0 if it is not known; there are then no cells.
    pub(crate) total: u64,
    pub(crate) unit: Unit,
    /// What stands behind the count, in order.
    pub(crate) details: Vec<Detail>,
}

/// What a bar counts.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// Updates, batches or files.
    Items,
    /// Seconds of audio, shown in the unit that suits the total.
    AudioSeconds,
}

/// A text behind the count of a bar.
pub(crate) struct Detail {
    pub(crate) text: String,
    /// Where the terminal is too narrow, the detail with the highest rank is left out first.
    pub(crate) rank: usize,
}

impl Detail {
    /// Makes a detail of a rank.
    pub(crate) fn new(rank: usize, text: impl Into<String>) -> Detail {
        Detail {
            text: text.into(),
            rank,
        }
    }
}

impl Bar<'_> {
    /// Prints a line with all details, for where lines cannot be drawn anew.
    pub(crate) fn print(&self) {
        let count = self.count();
        let details = joined(self.details.iter());
        let separator = self.separator();
        let _ = writeln!(
            std::io::stderr(),
            "{} {count}{separator}{details}",
            self.name
        );
    }

    /// Returns what stands between the count and the details.
    fn separator(&self) -> &'static str {
        match self.unit {
            Unit::Items => " ",
            Unit::AudioSeconds => " · ",
        }
    }

    /// Returns the count: `7/400`, or `7` without a total; of audio `2.10/5.31 h of audio`.
    fn count(&self) -> String {
        let done = self.done;
        let total = self.total;
        match self.unit {
            Unit::Items if total == 0 => done.to_string(),
            Unit::Items => format!("{done}/{total}"),
            Unit::AudioSeconds => {
                let (unit, seconds, digits) = match total {
                    0..60 => ("s", 1.0, 0),
                    60..3600 => ("min", 60.0, 1),
                    _ => ("h", 3600.0, 2),
                };
                let done = done as f64 / seconds;
                let total = total as f64 / seconds;
                format!("{done:.digits$}/{total:.digits$} {unit} of audio")
            }
        }
    }

    /// Returns the bar in one line that fits into `columns`.
    ///
    /// The cells take what names and numbers leave. The last column stays free, since some
    /// terminals go to the next line there.
    pub(crate) fn line(&self, columns: usize) -> String {
        let width = columns.saturating_sub(1);
        let name = shortened(self.name, (width / 4).max(8));
        let count = self.count();
        let min_cells = if self.total > 0 { MIN_CELLS + 1 } else { 0 };
        let fixed = name.chars().count() + 1 + min_cells + count.chars().count();
        let details = self.fitting(width.saturating_sub(fixed));
        let details_width = details.chars().count();
        let cells = (width + min_cells).saturating_sub(fixed + details_width + 1);
        let line = match self.total {
            0 => format!("{name} {count}{details}"),
            _ if cells < MIN_CELLS => format!("{name} {count}"),
            _ => format!("{name} {} {count}{details}", self.cells(cells)),
        };
        shortened(&line, width)
    }

    /// Returns as many details as fit into `width`, each row of them after a space.
    fn fitting(&self, width: usize) -> String {
        let mut ranks: Vec<usize> = self.details.iter().map(|detail| detail.rank).collect();
        ranks.sort();
        while let Some(highest) = ranks.pop() {
            let kept = self.details.iter().filter(|detail| detail.rank <= highest);
            let text = format!("{}{}", self.separator(), joined(kept));
            if text.chars().count() <= width {
                return text;
            }
        }
        String::new()
    }

    fn cells(&self, cells: usize) -> String {
        let done = self.done.min(self.total);
        let full = (cells as u128 * done as u128 / self.total as u128) as usize;
        "█".repeat(full) + &"░".repeat(cells - full)
    }
}

fn joined<'a>(details: impl Iterator<Item = &'a Detail>) -> String {
    let texts: Vec<&str> = details.map(|detail| detail.text.as_str()).collect();
    texts.join(" · ")
}

/// Cuts a text to a number of characters.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, total: u64) -> Bar<'_> {
        Bar {
            name,
            done: 120,
            total,
            unit: Unit::Items,
            details: vec![
                Detail::new(1, "loss -0.4812"),
                Detail::new(2, "sparsity 0.099 of 0.105"),
                Detail::new(3, "45.4 s of audio a second"),
                Detail::new(0, "1 min 41 s left"),
            ],
        }
    }

    #[test]
    fn a_bar_fills_the_terminal_and_no_more() {
        for columns in [40, 80, 200] {
            let line = bar("prune", 400).line(columns);
            assert_eq!(line.chars().count(), columns - 1, "{line}");
            assert!(line.contains("1 min 41 s left"), "{line}");
        }
        assert_eq!(
            bar("prune", 400).line(80),
            "prune ██░░░░░░ 120/400 loss -0.4812 · sparsity 0.099 of 0.105 · 1 min 41 s left"
        );
        assert!(bar("prune", 400).line(200).contains("of audio a second"));
        for columns in 0..100 {
            for name in ["prune", "a-phase-with-a-name-of-some-length-as-people-give"] {
                for total in [0, 400] {
                    let line = bar(name, total).line(columns);
                    assert!(line.chars().count() < columns.max(1), "{columns}: {line}");
                }
            }
        }
    }

    #[test]
    fn cells_show_the_share_that_is_done() {
        let line = bar("prune", 240).line(200);
        let count = |cell| line.chars().filter(|c| *c == cell).count();
        assert!(count('█').abs_diff(count('░')) <= 1, "{line}");
        assert_eq!(bar("fill", 0).line(30), "fill 120 1 min 41 s left");
    }

    #[test]
    fn audio_is_counted_in_the_unit_of_the_total() {
        let count = |total| {
            let audio = Bar {
                unit: Unit::AudioSeconds,
                ..bar("fill", total)
            };
            audio.count()
        };
        let counts = [125, 36_000, 3_456_000].map(count);
        let expected = [
            "2.0/2.1 min of audio",
            "0.03/10.00 h of audio",
            "0.03/960.00 h of audio",
        ];
        assert_eq!(counts, expected);
    }
}
