//! Files of `numpy.save` that hold an object.
use super::bytes::Bytes;
use super::values::Pickle;
use super::{Fault, Value, pickle};
use crate::Result;
use crate::data::error::PathContext;
use crate::data::read_files::ReadFiles;
use crate::data::text;
use std::path::Path;

/// What a file of `numpy.save` begins with.
const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads a file of `numpy.save` that holds one object, and hands the object to `each`. Errors name
/// `path`.
pub(crate) fn read_npy<T>(
    path: &Path,
    read_files: &mut ReadFiles,
    each: impl FnOnce(Value) -> Result<T, Fault>,
) -> Result<T> {
    let bytes = text::read_small_bytes(path).at(path)?;
    read_files.insert(path, blake3::hash(&bytes));
    let pickle = object(&bytes).at(path)?;
    let root = pickle.root();
    let object = root.elements().and_then(|items| items.first().copied());
    each(object.unwrap_or(root)).at(path)
}

/// Runs the pickle of a file of `numpy.save`.
fn object(bytes: &[u8]) -> Result<Pickle, Fault> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or("is no file of numpy.save")?;
    let (length, rest) = match rest {
        [1, _, a, b, rest @ ..] => (u32::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]), rest),
        _ => return Err("is no file of numpy.save of a version that is known".into()),
    };
    let header = rest.get(..length as usize).ok_or("is cut off")?;
    let is_object = header.windows(3).any(|part| part == b"|O'");
    if !is_object {
        return Err("holds an array of numbers, not an object such as a dictionary".into());
    }
    let body = &rest[length as usize..];
    let ended = pickle::run(&mut Bytes::new(body, body.len() as u64))?;
    Ok(ended.pickle)
}
