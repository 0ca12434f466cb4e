//! The problems of a graph file, which are collected and printed together.
use std::fmt::Display;

/// Where a problem is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// The offset of a byte in the graph file.
    Byte(usize),
    /// An argument of `--set`.
    Set(String),
}

/// Something wrong with a graph.
#[derive(Debug)]
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

    /// Writes each problem as a line `file:line:column: message`, in the order of the file;
    /// problems of `--set` come last.
    pub fn render(mut self, file: &str, text: &str) -> String {
        self.0.sort_by_key(|problem| match problem.location {
            Location::Byte(offset) => offset,
            Location::Set(_) => usize::MAX,
        });
        let mut lines: Vec<String> = self.0.iter().map(|p| p.line(file, text)).collect();
        // One `--set` may be wrong in every phase.
        lines.dedup();
        lines.concat()
    }
}

impl Problem {
    fn line(&self, file: &str, text: &str) -> String {
        let message = on_one_line(&self.message);
        match &self.location {
            Location::Set(argument) => format!("--set {}: {message}\n", on_one_line(argument)),
            Location::Byte(offset) => {
                let before = &text[..text.floor_char_boundary(*offset)];
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
                format!("{file}:{line}:{column}: {message}\n")
            }
        }
    }
}

/// Replaces control characters, which names in a graph file may contain.
fn on_one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Lists names as `` `a`, `b`, `c` ``.
pub fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
