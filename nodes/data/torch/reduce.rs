//! What calls and states in a pickle become. Calls that [`call`](super::call) knows give values;
//! what any other would return becomes an [`Object`], and nothing is run.
use super::call;
use super::element::Element;
use super::machine::Machine;
use super::values::{Node, Object, Place, Storage};
use super::{Fault, numpy};
use std::sync::Arc;

/// The most arguments that an understood call has.
const MOST_ARGUMENTS: usize = 16;

/// Returns what a function gives for the tuple of its arguments.
pub(super) fn call(
    machine: &mut Machine,
    function: Place,
    arguments: Place,
) -> Result<Node, Fault> {
    let class = match machine.node(function) {
        Node::Class(class) => class.clone(),
        Node::Object(object) => object.class.clone(),
        _ => return Err("is damaged: its pickle calls what is no function".into()),
    };
    let Node::Tuple(places) = machine.node(arguments) else {
        return Err("is damaged: a call in its pickle has no arguments".into());
    };
    let places: Vec<Place> = places.iter().take(MOST_ARGUMENTS).copied().collect();
    if let Some(made) = call::known(machine, &class, &places)? {
        return Ok(made);
    }
    // `copyreg._reconstructor(class, base, state)` and `copyreg.__newobj__(class, ...)` make an
    // object of their first argument.
    let class = match (&*class, places.first().map(|p| machine.node(*p))) {
        (
            "copyreg._reconstructor" | "copy_reg._reconstructor" | "copyreg.__newobj__",
            Some(Node::Class(own)),
        ) => own.clone(),
        _ => class,
    };
    Ok(Node::Object(Object {
        class,
        arguments,
        state: None,
        entries: vec![],
        items: vec![],
    }))
}

/// Gives an object its state. A dictionary or list keeps its elements and has no attributes.
pub(super) fn set_state(machine: &mut Machine, object: Place, state: Place) -> Result<(), Fault> {
    if let Node::Object(Object {
        class, arguments, ..
    }) = machine.node(object)
    {
        let class = class.clone();
        let arguments = *arguments;
        if let Some(array) = numpy::with_state(machine, &class, arguments, state)? {
            machine.nodes[object as usize] = array;
            return Ok(());
        }
    }
    // A state may be (dictionary, dictionary of slots).
    let state = match machine.node(state) {
        Node::Tuple(parts) => parts.first().copied().unwrap_or(state),
        _ => state,
    };
    if let Node::Object(object) = &mut machine.nodes[object as usize] {
        object.state = Some(state);
    }
    Ok(())
}

/// Returns what a persistent id names: ("storage", class, key, device, length, view), where only old
/// files have views, (key, start, length).
pub(super) fn persistent(machine: &mut Machine, id: Place) -> Result<Node, Fault> {
    let Node::Tuple(parts) = machine.node(id) else {
        return Err("names data outside of the file in a way that torch.save does not".into());
    };
    let parts: Vec<Place> = parts.iter().take(MOST_ARGUMENTS).copied().collect();
    let text = |i: usize| -> Option<Arc<str>> {
        match parts.get(i).map(|place| machine.node(*place)) {
            Some(Node::Text(text)) => Some(text.clone()),
            Some(Node::Int(number)) => Some(number.to_string().into()),
            _ => None,
        }
    };
    let whole = |place: Place| match machine.node(place) {
        Node::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    if text(0).as_deref() == Some("module") {
        // Old files keep modules with their source; the module itself is what counts.
        return match parts.get(1).map(|place| machine.node(*place)) {
            Some(class) => Ok(class.clone()),
            None => Err("is damaged: a module in its pickle has no class".into()),
        };
    }
    let element = match parts.get(1).map(|place| machine.node(*place)) {
        Some(Node::Class(class)) if text(0).as_deref() == Some("storage") => {
            Element::of_storage(class)
        }
        _ => return Err("names data that is no storage of a tensor".into()),
    };
    let key = text(2).ok_or("is damaged: a storage in its pickle has no key")?;
    let len = parts.get(4).and_then(|place| whole(*place));
    let len = len.ok_or("is damaged: a storage in its pickle has no length")?;
    let root = Storage {
        key: key.clone(),
        element,
        len,
        start: 0,
    };
    let mut storage = root.clone();
    if let Some(Node::Tuple(view)) = parts.get(5).map(|place| machine.node(*place)) {
        let start = view.get(1).and_then(|place| whole(*place));
        let view_len = view.get(2).and_then(|place| whole(*place));
        match start.zip(view_len) {
            Some((start, view_len))
                if start.checked_add(view_len).is_some_and(|end| end <= len) =>
            {
                storage.start = start;
                storage.len = view_len;
            }
            _ => return Err("is damaged: a view lies outside of its storage".into()),
        }
    }
    let known = machine.storages.entry(key).or_insert_with(|| root.clone());
    if known.len != root.len || known.element != root.element {
        return Err("is damaged: its pickle gives one storage two lengths or types".into());
    }
    Ok(Node::Storage(storage))
}
