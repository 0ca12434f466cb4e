//! Reads text that people and other programs write: graphs, manifests, tables, configurations.
//!
//! Text is UTF-8. A byte order mark at its beginning is passed over; other encodings are errors
//! that say how to convert the file. No more than a stated number of bytes is read.
mod blocks;
mod lines;
mod pipe;

use crate::Result;
use crate::data::placeholder::placeholder;
use crate::data::{regular, store};
use std::io::{self, Cursor, Read};
use std::path::Path;

pub(crate) use blocks::Blocks;
pub(crate) use lines::Lines;

/// The most bytes of a graph or a configuration.
pub const MAX_SMALL_BYTES: u64 = 16 << 20;

/// The most bytes of a list, such as a manifest, which is read as a whole.
pub const MAX_LIST_BYTES: u64 = 1 << 30;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads the bytes of a graph file, which may be a pipe.
///
/// # Errors
/// The file cannot be read or has more than [`MAX_SMALL_BYTES`].
pub fn read_graph(path: &Path) -> io::Result<Vec<u8>> {
    read_bytes(path, MAX_SMALL_BYTES, true)
}

/// Returns text without the byte order mark that it may begin with.
///
/// # Errors
/// The text is UTF-16.
pub fn without_mark(bytes: &[u8]) -> Result<&[u8], String> {
    Ok(&bytes[mark_length(bytes)?..])
}

/// Reads a configuration. Errors do not name the file.
pub(crate) fn read_small(path: &Path) -> Result<String> {
    decode(read_small_bytes(path)?)
}

/// Reads the bytes of a configuration. Errors do not name the file.
pub(crate) fn read_small_bytes(path: &Path) -> io::Result<Vec<u8>> {
    read_bytes(path, MAX_SMALL_BYTES, false)
}

/// Reads a list or table, which may be a pipe. Errors do not name the file.
pub(crate) fn read_list(path: &Path) -> Result<String> {
    decode(read_bytes(path, MAX_LIST_BYTES, true)?)
}

/// Opens a list, which may be a pipe: of that all bytes are read now.
pub(crate) fn open_list(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    if is_pipe(path) {
        return Ok(Box::new(Cursor::new(read_pipe(path, MAX_LIST_BYTES)?)));
    }
    Ok(Box::new(store::open(path)?))
}

/// Returns whether `path` is a pipe, which can be read only once.
pub fn is_pipe(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| regular::is_pipe(metadata.file_type()))
}

fn read_bytes(path: &Path, limit: u64, may_be_pipe: bool) -> io::Result<Vec<u8>> {
    if may_be_pipe && is_pipe(path) {
        return read_pipe(path, limit);
    }
    let file = regular::open(path)?;
    if file.metadata()?.len() > limit {
        return Err(too_long(limit));
    }
    let mut bytes = vec![];
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_long(limit));
    }
    Ok(bytes)
}

fn read_pipe(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let bytes = pipe::read(path, limit)?;
    match placeholder(&bytes) {
        Some(message) => Err(io::Error::other(message)),
        None => Ok(bytes),
    }
}

fn too_long(limit: u64) -> io::Error {
    let mebibytes = limit >> 20;
    io::Error::other(format!(
        "it has more than {mebibytes} MiB, the most that is read"
    ))
}

/// Converts bytes to text, without its byte order mark.
pub(crate) fn decode(mut bytes: Vec<u8>) -> Result<String> {
    let mark = mark_length(&bytes)?;
    bytes.drain(..mark);
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        not_utf8(line).into()
    })
}

/// Returns the message that a line is not UTF-8.
pub(crate) fn not_utf8(line: usize) -> String {
    format!(
        "line {line} is not UTF-8 text; convert the file, for instance with `iconv -f LATIN1 -t \
         UTF-8 IN > OUT`"
    )
}

/// Returns the length of the byte order mark that `bytes` begin with.
///
/// # Errors
/// The text is UTF-16, by its mark or by the zeros between its first letters.
fn mark_length(bytes: &[u8]) -> Result<usize, String> {
    let zeros = bytes.iter().take(4).map(|byte| *byte == 0);
    let is_utf16 = bytes.starts_with(b"\xff\xfe")
        || bytes.starts_with(b"\xfe\xff")
        || zeros.clone().eq([true, false, true, false])
        || zeros.eq([false, true, false, true]);
    if is_utf16 {
        let message = "it is UTF-16 text; convert it, for instance with `iconv -f UTF-16 -t UTF-8 \
                       IN > OUT`";
        return Err(message.into());
    }
    Ok(if bytes.starts_with(BYTE_ORDER_MARK) {
        BYTE_ORDER_MARK.len()
    } else {
        0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_encodings() {
        let text = |bytes: &[u8]| decode(bytes.to_vec()).map_err(|e| e.to_string());
        assert_eq!(text(b"\xef\xbb\xbfa\r\n"), Ok("a\r\n".into()));
        assert_eq!(text(b""), Ok(String::new()));
        assert_eq!(text("\u{e9}".as_bytes()), Ok("\u{e9}".into()));
        for utf16 in [&b"\xff\xfea\0"[..], b"\xfe\xff\0a", b"a\0b\0", b"\0a\0b"] {
            assert!(text(utf16).unwrap_err().starts_with("it is UTF-16 text"));
        }
        let error = text(b"a\nb\n\xe9\n").unwrap_err();
        assert!(error.starts_with("line 3 is not UTF-8 text"), "{error}");
    }

    #[test]
    fn what_is_no_file_is_named() {
        let error = |path: &str| read_small(Path::new(path)).unwrap_err().to_string();
        assert_eq!(error("/"), "it is a folder, not a file");
        if cfg!(unix) {
            assert_eq!(error("/dev/zero"), "it is a device or socket, not a file");
        }
    }
}
