//! Arrays of NumPy within pickles.
use super::machine::Machine;
use super::values::{Array, Node, Place};
use super::{Fault, Value};
use crate::data::file::decode_floats;
use safetensors::tensor::Dtype;

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
