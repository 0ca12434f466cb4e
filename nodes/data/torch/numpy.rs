//! Arrays of NumPy within pickles, and files of `numpy.save` that hold an object.
use super::bytes::Bytes;
use super::pickle::{self, Machine};
use super::values::{Node, Pickle, Place};
use super::{Fault, Value};
use crate::Result;
use crate::data::error::PathContext;
use crate::data::file::decode_floats;
use crate::data::read_files::ReadFiles;
use crate::data::text;
use safetensors::tensor::Dtype;
use std::path::Path;
use std::sync::Arc;

/// What a file of `numpy.save` begins with.
const MAGIC: &[u8] = b"\x93NUMPY";

/// An array of numbers.
#[derive(Clone, Debug)]
pub(super) struct Array {
    /// NumPy's name of the type, such as `<f8`.
    dtype: Arc<str>,
    shape: Vec<usize>,
    data: Place,
}

/// Returns what an object of NumPy is with its state; `None` for other classes.
///
/// A type becomes its name with its byte order, an array of objects the list of them.
pub(super) fn with_state(
    machine: &mut Machine,
    class: &str,
    arguments: Place,
    state: Place,
) -> Result<Option<Node>, Fault> {
    let places = |place: Place| match machine.node(place) {
        Node::Tuple(places) => places.as_slice(),
        _ => &[],
    };
    let state = places(state);
    let node = |i: usize| state.get(i).map(|place| machine.node(*place));
    match class {
        "numpy.dtype" => {
            let name = places(arguments).first().map(|place| machine.node(*place));
            match (name, node(1)) {
                (Some(Node::Text(name)), Some(Node::Text(order))) if name.len() < 64 => {
                    let name = format!("{}{name}", if &**order == ">" { ">" } else { "<" });
                    Ok(Some(Node::Text(name.into())))
                }
                _ => Err("holds an array of a type that is not known".into()),
            }
        }
        "numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct" => {
            let Some(Node::Text(dtype)) = node(2) else {
                return Err("is damaged: an array in its pickle has no type".into());
            };
            if let Some(Node::List(items)) = node(4) {
                let items = items.clone();
                machine.count_copied(items.len())?;
                return Ok(Some(Node::List(items)));
            }
            let number = |place: &Place| match machine.node(*place) {
                Node::Int(number) => usize::try_from(*number).ok(),
                _ => None,
            };
            let shape = match node(1) {
                Some(Node::Tuple(places)) => places.iter().take(8).map(number).collect(),
                _ => None,
            };
            let is_by_column = matches!(node(3), Some(Node::Bool(true)));
            match (shape, state.get(4)) {
                (Some(shape), Some(data)) if !is_by_column || Vec::len(&shape) < 2 => {
                    Ok(Some(Node::Array(Array {
                        dtype: dtype.clone(),
                        shape,
                        data: *data,
                    })))
                }
                _ => Err("holds an array of a form that is not read".into()),
            }
        }
        _ => Ok(None),
    }
}

impl Value<'_> {
    /// Returns the numbers of an array of floats, or of a list of numbers.
    pub(crate) fn numbers(self) -> Option<Vec<f32>> {
        let Node::Array(array) = self.node() else {
            let number = |value: Value| match value.node() {
                Node::Float(number) => Some(*number as f32),
                Node::Int(number) => Some(*number as f32),
                _ => None,
            };
            return self.elements()?.into_iter().map(number).collect();
        };
        let dtype = match &*array.dtype {
            "<f8" => Dtype::F64,
            "<f4" => Dtype::F32,
            "<f2" => Dtype::F16,
            _ => return None,
        };
        let Node::Bytes(bytes) = self.at(array.data).node() else {
            return None;
        };
        let count = array
            .shape
            .iter()
            .try_fold(1usize, |n, m| n.checked_mul(*m))?;
        let values = decode_floats(dtype, bytes)?;
        (values.len() == count).then_some(values)
    }
}

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
