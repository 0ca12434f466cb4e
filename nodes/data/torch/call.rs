//! The calls of a pickle that are understood: those that build tensors, and plain containers.
use super::Fault;
use super::element::Element;
use super::machine::Machine;
use super::tensor::TorchTensor;
use super::values::{Node, Place};

/// The most dimensions of a tensor.
const DIMENSIONS: usize = 16;

/// Returns what a call gives; `None` if it is not among those that are understood.
pub(super) fn known(
    machine: &mut Machine,
    class: &str,
    arguments: &[Place],
) -> Result<Option<Node>, Fault> {
    let first = arguments.first().copied();
    Ok(match class {
        "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => {
            Some(tensor(machine, arguments, None)?)
        }
        "torch._utils._rebuild_tensor_v3" => {
            let element = match arguments.get(6).map(|place| machine.node(*place)) {
                Some(Node::Class(class)) => Element::of_dtype(class),
                _ => None,
            };
            let element = element.ok_or("holds a tensor of a type that is not known")?;
            Some(tensor(machine, arguments, Some(element))?)
        }
        // A parameter is its tensor.
        "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => {
            match first.map(|place| machine.node(place)) {
                Some(Node::Tensor(tensor)) => Some(Node::Tensor(tensor.clone())),
                _ => None,
            }
        }
        "torch._tensor._rebuild_from_type_v2" => from_type(machine, arguments)?,
        "collections.OrderedDict"
        | "collections.defaultdict"
        | "builtins.dict"
        | "__builtin__.dict" => {
            let pairs = arguments.last();
            let entries = pairs.map_or(Ok(vec![]), |pairs| entries(machine, *pairs))?;
            Some(Node::Dict(entries))
        }
        "builtins.list" | "builtins.set" | "builtins.frozenset" | "builtins.tuple"
        | "__builtin__.list" | "__builtin__.set" | "__builtin__.tuple" | "torch.Size" => {
            let items = first.map(|place| machine.node(place));
            match items {
                None => Some(Node::List(vec![])),
                Some(Node::List(items) | Node::Tuple(items)) => {
                    let items = items.clone();
                    machine.count_copied(items.len())?;
                    Some(Node::List(items))
                }
                _ => None,
            }
        }
        // Bytes in protocols that had none: text whose characters are the bytes.
        "_codecs.encode" => match first.map(|place| machine.node(place)) {
            Some(Node::Text(text)) => {
                let text = text.clone();
                machine.count_copied(text.len())?;
                let bytes = text.chars().map(|c| u8::try_from(u32::from(c)));
                bytes.collect::<Result<Vec<u8>, _>>().ok().map(Node::Bytes)
            }
            _ => None,
        },
        _ => None,
    })
}

/// Returns the pairs that a dictionary is made from.
fn entries(machine: &mut Machine, pairs: Place) -> Result<Vec<(Place, Place)>, Fault> {
    let length = match machine.node(pairs) {
        Node::Dict(entries) => entries.len(),
        Node::List(places) | Node::Tuple(places) => places.len(),
        _ => 0,
    };
    machine.count_copied(length)?;
    let places = match machine.node(pairs) {
        Node::Dict(entries) => return Ok(entries.clone()),
        Node::List(places) | Node::Tuple(places) => places,
        _ => return Ok(vec![]),
    };
    let pair = |place: &Place| match machine.node(*place) {
        Node::List(pair) | Node::Tuple(pair) if pair.len() == 2 => Some((pair[0], pair[1])),
        _ => None,
    };
    Ok(places.iter().filter_map(pair).collect())
}

/// Returns what `_rebuild_from_type_v2(function, type, arguments, state)` gives: a tensor with
/// attributes is its tensor.
fn from_type(machine: &mut Machine, arguments: &[Place]) -> Result<Option<Node>, Fault> {
    let node = |i: usize| arguments.get(i).map(|place| machine.node(*place));
    let (Some(Node::Class(function)), Some(Node::Tuple(inner))) = (node(0), node(2)) else {
        return Ok(None);
    };
    if !function.starts_with("torch._utils._rebuild_") {
        return Ok(None);
    }
    let function = function.clone();
    let inner: Vec<Place> = inner.iter().take(DIMENSIONS).copied().collect();
    known(machine, &function, &inner)
}

/// Builds a tensor of (storage, offset, shape, strides, ...).
fn tensor(machine: &Machine, arguments: &[Place], element: Option<Element>) -> Result<Node, Fault> {
    let node = |i: usize| arguments.get(i).map(|place| machine.node(*place));
    let Some(Node::Storage(storage)) = node(0) else {
        return Err("is damaged: a tensor in its pickle has no storage".into());
    };
    let element = element.or(storage.element);
    let element = element.ok_or("holds a tensor of a type that is not known")?;
    let number = |place: Place| match machine.node(place) {
        Node::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    let numbers = |i: usize| match node(i) {
        Some(Node::Tuple(places) | Node::List(places)) if places.len() <= DIMENSIONS => places
            .iter()
            .map(|place| number(*place))
            .collect::<Option<Vec<u64>>>(),
        _ => None,
    };
    let offset = arguments.get(1).and_then(|place| number(*place));
    match (offset, numbers(2), numbers(3)) {
        (Some(offset), Some(shape), Some(strides)) if shape.len() == strides.len() => {
            let shape = shape
                .into_iter()
                .map(usize::try_from)
                .collect::<Result<Vec<_>, _>>();
            Ok(Node::Tensor(TorchTensor {
                key: storage.key.clone(),
                element,
                start: storage
                    .start
                    .checked_add(offset)
                    .ok_or("is damaged: a tensor's offset")?,
                shape: shape.map_err(|_| "is damaged: a tensor's shape")?,
                strides,
            }))
        }
        _ => Err("is damaged: a tensor in its pickle has no shape".into()),
    }
}
