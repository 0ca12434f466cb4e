//! Opens regular files. What is no file (a folder, a named pipe, a device) is refused by name: it
//! could block or never end.
use std::fs::{File, FileType};
use std::io;
use std::path::Path;

/// Opens a regular file, following links.
///
/// # Errors
/// The file cannot be opened, or `path` is something else, which the message names.
pub fn open(path: &Path) -> io::Result<File> {
    let metadata = std::fs::metadata(path)?;
    match other_kind(metadata.file_type()) {
        Some(kind) => Err(refused(kind)),
        None => File::open(path),
    }
}

/// Returns the error that `kind` stands where a file must.
pub(crate) fn refused(kind: &str) -> io::Error {
    io::Error::other(format!("it is {kind}, not a file"))
}

/// Returns what something that is no regular file is.
pub(crate) fn other_kind(file_type: FileType) -> Option<&'static str> {
    if file_type.is_file() {
        None
    } else if file_type.is_dir() {
        Some("a folder")
    } else if is_pipe(file_type) {
        Some("a named pipe")
    } else {
        Some("a device or socket")
    }
}

#[cfg(unix)]
pub(crate) fn is_pipe(file_type: FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&file_type)
}

#[cfg(not(unix))]
pub(crate) fn is_pipe(_: FileType) -> bool {
    false
}
