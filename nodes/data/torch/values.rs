//! What a pickle holds. Values lie in one list and name each other by place, so that a pickle of any
//! nesting, or one that contains itself, is dropped without recursion.
use super::TorchTensor;
use std::sync::Arc;

/// The place of a value.
pub(super) type Place = u32;

/// A value; containers name the places of what they hold.
#[derive(Clone, Debug)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    Bytes(Vec<u8>),
    /// A list or a set.
    List(Vec<Place>),
    Tuple(Vec<Place>),
    /// Keys and values; the last of equal keys counts.
    Dict(Vec<(Place, Place)>),
    /// A class or function by its module and name.
    Class(Arc<str>),
    Storage(Storage),
    Tensor(TorchTensor),
    Array(Array),
    Object(Object),
}

/// Numbers of tensors, as a pickle names them.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    pub(super) key: Arc<str>,
    pub(super) element: Option<super::element::Element>,
    /// The number of elements, or of bytes where `element` is not known.
    pub(super) len: u64,
    /// The first element, within the storage of this key.
    pub(super) start: u64,
}

/// An array of NumPy.
#[derive(Clone, Debug)]
pub(super) struct Array {
    /// NumPy's name of the type, such as `<f8`.
    pub(super) dtype: Arc<str>,
    pub(super) shape: Vec<usize>,
    pub(super) data: Place,
}

/// An object of a class that is not built: what it is made of.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) class: Arc<str>,
    pub(super) arguments: Place,
    pub(super) state: Option<Place>,
    /// What was added as to a dictionary.
    pub(super) entries: Vec<(Place, Place)>,
    /// What was added as to a list.
    pub(super) items: Vec<Place>,
}

/// The values of a pickle, the last of which is what was saved.
#[derive(Debug)]
pub(super) struct Pickle {
    pub(super) nodes: Vec<Node>,
    pub(super) root: Place,
}

impl Pickle {
    pub(super) fn root(&self) -> Value<'_> {
        self.value(self.root)
    }

    pub(super) fn value(&self, place: Place) -> Value<'_> {
        Value {
            pickle: self,
            place,
        }
    }
}

/// A value of a pickle.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a> {
    pub(super) pickle: &'a Pickle,
    pub(super) place: Place,
}

impl<'a> Value<'a> {
    pub(super) fn node(self) -> &'a Node {
        &self.pickle.nodes[self.place as usize]
    }

    pub(super) fn at(self, place: Place) -> Value<'a> {
        self.pickle.value(place)
    }

    /// Returns the value of a key of a dictionary, or of an attribute of an object.
    pub(crate) fn get(self, key: &str) -> Option<Value<'a>> {
        let entries = self.raw_entries();
        let found = entries
            .iter()
            .rev()
            .find(|(k, _)| self.at(*k).text() == Some(key));
        found.map(|(_, value)| self.at(*value).unwrapped())
    }

    /// Returns the entries of a dictionary, or the attributes of an object, whose keys are text.
    pub(crate) fn entries(self) -> Vec<(&'a str, Value<'a>)> {
        let entries = self.raw_entries().iter();
        entries
            .filter_map(|(key, value)| Some((self.at(*key).text()?, self.at(*value).unwrapped())))
            .collect()
    }

    /// Returns the elements of a list, a tuple or an object that is a list.
    pub(crate) fn elements(self) -> Option<Vec<Value<'a>>> {
        let places = match self.unwrapped().node() {
            Node::List(places) | Node::Tuple(places) => places,
            Node::Object(object) if !object.items.is_empty() => &object.items,
            _ => return None,
        };
        Some(
            places
                .iter()
                .map(|place| self.at(*place).unwrapped())
                .collect(),
        )
    }

    pub(crate) fn text(self) -> Option<&'a str> {
        match self.node() {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn bool(self) -> Option<bool> {
        match self.node() {
            Node::Bool(value) => Some(*value),
            Node::Int(value) => Some(*value != 0),
            _ => None,
        }
    }

    pub(crate) fn int(self) -> Option<i64> {
        match self.node() {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn tensor(self) -> Option<&'a TorchTensor> {
        match self.node() {
            Node::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// Returns the class of an object that is not built.
    pub(crate) fn class(self) -> Option<&'a str> {
        match self.node() {
            Node::Object(object) => Some(&object.class),
            _ => None,
        }
    }

    /// Returns the entries of a dictionary, of an object that is one, or its attributes.
    fn raw_entries(self) -> &'a [(Place, Place)] {
        match self.unwrapped().node() {
            Node::Dict(entries) => entries,
            Node::Object(object) if !object.entries.is_empty() => &object.entries,
            Node::Object(object) => match object.state.map(|state| self.at(state).node()) {
                Some(Node::Dict(entries)) => entries,
                _ => &[],
            },
            _ => &[],
        }
    }

    /// Returns what an object of OmegaConf holds: its containers keep their elements in `_content`,
    /// its leaves their value in `_val`.
    fn unwrapped(self) -> Value<'a> {
        let mut value = self;
        for _ in 0..2 {
            let Some(inner) = value.inner() else {
                return value;
            };
            value = inner;
        }
        value
    }

    fn inner(self) -> Option<Value<'a>> {
        let Node::Object(object) = self.node() else {
            return None;
        };
        if !object.class.starts_with("omegaconf.") {
            return None;
        }
        let Node::Dict(state) = self.at(object.state?).node() else {
            return None;
        };
        let named = |name: &str| {
            let found = state
                .iter()
                .find(|(key, _)| self.at(*key).text() == Some(name));
            found.map(|(_, value)| self.at(*value))
        };
        named("_content").or_else(|| named("_val"))
    }
}
