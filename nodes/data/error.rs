//! Errors that begin with the path of the file they are about.
use crate::data::printable::printable_path;
use crate::{Error, Result};
use std::path::Path;

/// Adds a path to the error of a result.
pub(crate) trait PathContext<T> {
    /// Prefixes the error with `path`: "PATH: error".
    fn at(self, path: &Path) -> Result<T>;
}

impl<T, E: Into<Error>> PathContext<T> for Result<T, E> {
    fn at(self, path: &Path) -> Result<T> {
        self.map_err(|error| error_at(path, error))
    }
}

/// Returns the error "PATH: error".
pub(crate) fn error_at(path: &Path, error: impl Into<Error>) -> Error {
    format!("{}: {}", printable_path(path), error.into()).into()
}
