//! Collects what is wrong with the rows of a manifest.
use crate::Result;
use crate::data::error::error_at;
use crate::data::printable::{printable, shortened};
use std::path::Path;

/// How many invalid rows an error names; it counts the others.
const MAX_NAMED: usize = 20;

/// How many others are counted of a list that is read line by line.
const MAX_COUNTED: usize = 100_000;

/// The errors of the first invalid rows of a manifest, and the number of the others.
#[derive(Default)]
pub(super) struct RowErrors {
    named: Vec<String>,
    others: usize,
}

impl RowErrors {
    /// Takes a row of the manifest `path`. Returns it if neither it nor a row before is invalid.
    pub(super) fn valid<T>(&mut self, path: &Path, row: Result<T>) -> Option<T> {
        match row {
            Ok(row) => return self.named.is_empty().then_some(row),
            Err(e) if self.named.len() < MAX_NAMED => {
                let message = e.to_string();
                let message = printable(&shortened(&message)).into_owned();
                self.named.push(error_at(path, message).to_string());
            }
            Err(_) => self.others += 1,
        }
        None
    }

    /// Returns whether so many rows are wrong that the rest need not be read.
    pub(super) fn are_too_many(&self) -> bool {
        self.others >= MAX_COUNTED
    }

    /// Fails with the errors, if there is one, as one error with a line for each; the lines begin
    /// with `path`.
    pub(super) fn finish(mut self, path: &Path) -> Result<()> {
        if self.others > 0 {
            let at_least = if self.are_too_many() { "at least " } else { "" };
            let message = format!("{at_least}{} more lines are wrong", self.others);
            self.named.push(error_at(path, message).to_string());
        }
        if self.named.is_empty() {
            Ok(())
        } else {
            Err(self.named.join("\n").into())
        }
    }
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
