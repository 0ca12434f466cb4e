//! The problems of a graph file, which are collected and printed together.
use nodes::data::printable::printable;
use std::collections::HashSet;
use std::fmt::Display;

/// How many problems are shown; the others are counted.
const MAX_SHOWN: usize = 100;

/// The longest message.
const MAX_CHARACTERS: usize = 2000;

/// Where a problem is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// The offset of a byte in the graph file.
    Byte(usize),
    /// An argument of `--set`.
    Set(String),
}

/// Something wrong with a graph.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    pub location: Location,
    pub message: String,
}

/// The problems found so far.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a problem.
    pub fn add(&mut self, location: &Location, message: impl Display) {
        self.0.push(Problem {
            location: location.clone(),
            message: message.to_string(),
        });
    }

    /// Adds a problem whose message names a node.
    pub fn add_for_node(&mut self, node: &str, location: &Location, message: impl Display) {
        self.add(location, format!("node `{node}`: {message}"));
    }

    /// Returns the number of problems.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over the problems in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// Writes each problem as a line `file:line:column: message`, in the order of the file, problems
    /// of `--set` last: the first 100, then how many more there are.
    pub fn render(mut self, file: &str, text: &str) -> String {
        self.0.sort_by_key(|problem| match problem.location {
            Location::Byte(offset) => offset,
            Location::Set(_) => usize::MAX,
        });
        // One `--set` may be wrong in every phase.
        let mut seen = HashSet::new();
        self.0.retain(|problem| seen.insert(problem.clone()));
        let mut places = Places::new(text);
        let mut lines = String::new();
        for problem in self.0.iter().take(MAX_SHOWN) {
            let place = match &problem.location {
                Location::Set(argument) => format!("--set {}", short(argument)),
                Location::Byte(offset) => {
                    let (line, column) = places.place(*offset);
                    format!("{}:{line}:{column}", printable(file))
                }
            };
            lines += &format!("{place}: {}\n", short(&problem.message));
        }
        let others = self.0.len().saturating_sub(MAX_SHOWN);
        if others > 0 {
            lines += &format!("and {others} more\n");
        }
        lines
    }
}

/// Finds lines and columns of ascending offsets.
struct Places<'a> {
    text: &'a str,
    /// The line of `line_start`, from 1.
    line: usize,
    line_start: usize,
}

impl Places<'_> {
    fn new(text: &str) -> Places<'_> {
        Places {
            text,
            line: 1,
            line_start: 0,
        }
    }

    /// Returns line and column, both from 1. No offset is below the one before.
    fn place(&mut self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let skipped = &self.text[self.line_start.min(offset)..offset];
        if let Some(last_break) = skipped.rfind('\n') {
            self.line += skipped.matches('\n').count();
            self.line_start += last_break + 1;
        }
        let column = self.text[self.line_start..offset].chars().count() + 1;
        (self.line, column)
    }
}

/// Returns a message on one line, cut if it repeats a long text.
fn short(message: &str) -> String {
    match message.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}...", printable(&message[..end])),
        None => printable(message).into_owned(),
    }
}

/// Lists names as `` `a`, `b`, `c` ``.
pub fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_hundred_are_shown_and_the_others_counted() {
        let text = "\u{e9}\n".repeat(1000);
        let mut problems = Problems::default();
        for line in (0..1000).rev() {
            problems.add(&Location::Byte(3 * line + 2), "two\nlines");
            problems.add(&Location::Byte(3 * line + 2), "two\nlines");
        }
        problems.add(&Location::Set("a=1".into()), "wrong");
        let shown = problems.render("x\u{1b}.json", &text);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 101);
        assert_eq!(lines[0], "x\\u{1b}.json:1:2: two\\nlines");
        assert_eq!(lines[99], "x\\u{1b}.json:100:2: two\\nlines");
        assert_eq!(lines[100], "and 901 more");
    }
}
