//! Opens regular files. What is no file (a folder, a named pipe, a device) is refused by name: it
//! could block or never end. So is what stands in place of a file, such as a Git LFS pointer.
use crate::data::placeholder::{HEAD_BYTES, placeholder};
use std::fs::{File, FileType};
use std::io::{self, Read, Seek};
use std::path::Path;

/// Opens a regular file, following links.
///
/// # Errors
/// The file cannot be opened, or `path` is something else, which the message names.
pub fn open(path: &Path) -> io::Result<File> {
    let metadata = std::fs::metadata(path)?;
    if let Some(kind) = other_kind(metadata.file_type()) {
        return Err(refused(kind));
    }
    let mut file = File::open(path)?;
    if let Some(message) = placeholder(&head(&mut file)?) {
        return Err(io::Error::other(message));
    }
    file.rewind()?;
    Ok(file)
}

/// Returns what stands in place of the file at `path`, such as a Git LFS pointer; `None` if nothing
/// tells that, or if the file cannot be read.
pub fn stand_in(path: &Path) -> Option<&'static str> {
    let is_file = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let file = is_file.then(|| File::open(path).ok()).flatten();
    placeholder(&head(&mut file?).ok()?)
}

/// Reads the first bytes of a file.
fn head(file: &mut File) -> io::Result<Vec<u8>> {
    let mut head = vec![];
    file.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
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
