//! The files of a phase that could not be used, up to the number that the option `bad_files` allows.
//! Ranks tell each other of theirs, so that a file counts once whichever of them has read it.
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The files that could not be used so far.
#[derive(Default)]
pub struct BadFiles(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// The errors. Each names its file, so that a file counts once.
    errors: BTreeSet<String>,
    /// Those that other ranks have not been told of.
    untold: Vec<String>,
    allowed: u64,
}

impl BadFiles {
    /// Sets how many files may be bad.
    pub fn allow(&self, files: u64) {
        self.lock().allowed = files;
    }

    /// Counts a file and says so, unless it is known.
    ///
    /// # Errors
    /// The error itself if there are more than allowed.
    pub fn add(&self, error: Error, say: impl FnOnce(String)) -> Result<()> {
        let error = error.to_string();
        let mut known = self.lock();
        let line = known.count(&error)?;
        if let Some(line) = line {
            known.untold.push(error);
            say(line);
        }
        Ok(())
    }

    /// Takes the errors that other ranks have not been told of.
    pub fn take_untold(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().untold)
    }

    /// Counts the files of a rank, by what it tells, and says which of them this one does not know.
    ///
    /// # Errors
    /// One of them, if there are more than allowed.
    pub fn join(&self, rank: usize, errors: &[String], say: impl Fn(String)) -> Result<()> {
        let mut known = self.lock();
        for error in errors {
            if let Some(line) = known.count(error)? {
                say(format!("rank {rank}: {line}"));
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Counts an error. Returns what is to be said of it, `None` if it is known.
    fn count(&mut self, error: &str) -> Result<Option<String>> {
        if !self.errors.insert(error.to_owned()) {
            return Ok(None);
        }
        let number = self.errors.len() as u64;
        let allowed = self.allowed;
        let count = format!("(bad file {number}; `bad_files` is {allowed})");
        if number > allowed {
            return Err(format!("{error} {count}").into());
        }
        Ok(Some(format!("{error}: left out {count}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn a_file_counts_once_over_all_ranks() {
        let lines = RefCell::new(vec![]);
        let say = |line| lines.borrow_mut().push(line);
        let files = BadFiles::default();
        files.allow(3);
        files.add("a.wav is bad".into(), say).unwrap();
        files.add("a.wav is bad".into(), say).unwrap();
        assert_eq!(files.take_untold(), ["a.wav is bad"]);
        assert!(files.take_untold().is_empty());
        let told = |names: &[&str]| names.iter().map(|name| format!("{name} is bad")).collect();
        let others: Vec<String> = told(&["b.wav", "a.wav", "c.wav"]);
        files.join(1, &others, say).unwrap();
        assert!(files.take_untold().is_empty(), "that rank has told of them");
        let expected = [
            "a.wav is bad: left out (bad file 1; `bad_files` is 3)",
            "rank 1: b.wav is bad: left out (bad file 2; `bad_files` is 3)",
            "rank 1: c.wav is bad: left out (bad file 3; `bad_files` is 3)",
        ];
        assert_eq!(lines.take(), expected);
        let fourth: Vec<String> = told(&["d.wav"]);
        let error = files.join(2, &fourth, say).unwrap_err().to_string();
        assert_eq!(error, "d.wav is bad (bad file 4; `bad_files` is 3)");
    }
}
