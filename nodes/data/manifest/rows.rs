//! Collects the rows of a manifest, or what is wrong with them.
use crate::Result;
use crate::data::error::error_at;
use crate::data::printable::{printable, shortened};
use std::path::Path;

/// How many invalid rows an error names; it counts the others.
const MAX_NAMED: usize = 20;

/// How many others are counted of a list that is read line by line.
const MAX_COUNTED: usize = 100_000;

/// Valid rows, and the errors of the first invalid ones.
pub(super) struct Rows<T> {
    valid: Vec<T>,
    errors: Vec<String>,
    others: usize,
}

impl<T> Rows<T> {
    pub(super) fn new() -> Rows<T> {
        Rows {
            valid: vec![],
            errors: vec![],
            others: 0,
        }
    }

    /// Adds a row of the manifest `path`.
    pub(super) fn push(&mut self, path: &Path, row: Result<T>) {
        match row {
            Ok(row) if self.errors.is_empty() => self.valid.push(row),
            Ok(_) => (),
            Err(e) if self.errors.len() < MAX_NAMED => {
                let message = e.to_string();
                let message = printable(&shortened(&message)).into_owned();
                self.errors.push(error_at(path, message).to_string());
            }
            Err(_) => self.others += 1,
        }
    }

    /// Returns whether so many rows are wrong that the rest need not be read.
    pub(super) fn has_too_many_errors(&self) -> bool {
        self.others >= MAX_COUNTED
    }

    /// Returns the rows, or their errors as one error with a line for each; the lines begin with
    /// `path`.
    pub(super) fn finish(mut self, path: &Path) -> Result<Vec<T>> {
        if self.others > 0 {
            let at_least = if self.has_too_many_errors() {
                "at least "
            } else {
                ""
            };
            let message = format!("{at_least}{} more lines are wrong", self.others);
            self.errors.push(error_at(path, message).to_string());
        }
        if self.errors.is_empty() {
            Ok(self.valid)
        } else {
            Err(self.errors.join("\n").into())
        }
    }
}

/// Collects rows, or their errors as one error.
pub(super) fn collect_rows<T>(
    path: &Path,
    rows: impl IntoIterator<Item = Result<T>>,
) -> Result<Vec<T>> {
    let mut collected = Rows::new();
    for row in rows {
        collected.push(path, row);
    }
    collected.finish(path)
}

#[cfg(test)]
mod tests {
    use super::super::tests::TestFolder;

    #[test]
    fn many_wrong_lines_are_counted() {
        let scratch = TestFolder::new("many");
        let lines = "root\n".to_owned() + &"nothing\n".repeat(50);
        let error = scratch.error(&scratch.file("x.tsv", lines));
        assert_eq!(error.lines().count(), 21);
        assert!(error.ends_with("x.tsv: 30 more lines are wrong"), "{error}");
    }
}
