//! A graph of ONNX under construction. Values are named by the nodes that make them.
mod file;

use std::collections::{BTreeMap, BTreeSet};

/// The name of a value in the graph.
pub(super) type Value = String;

/// Types of elements, by their numbers in `TensorProto.DataType`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32 = 1,
    U8 = 2,
    I64 = 7,
    F16 = 10,
    F64 = 11,
}

/// A constant tensor.
pub(super) struct Constant {
    pub(super) name: Value,
    pub(super) element: Element,
    pub(super) shape: Vec<usize>,
    /// Little-endian values.
    pub(super) bytes: Vec<u8>,
}

/// An attribute of a node.
#[derive(Clone)]
pub(super) enum Attribute {
    Int(i64),
    Ints(Vec<usize>),
    Text(&'static str),
}

/// One operation.
pub(super) struct Node {
    pub(super) op: &'static str,
    pub(super) inputs: Vec<Value>,
    pub(super) outputs: Vec<Value>,
    attributes: Vec<(&'static str, Attribute)>,
}

/// An input or output of the graph.
pub(super) struct Port {
    pub(super) name: String,
    /// Sizes, or names of sizes that vary.
    pub(super) shape: Vec<String>,
}

#[derive(Default)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) constants: Vec<Constant>,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    /// Small constants by their element and values, so that each is stored once.
    shared: BTreeMap<(u64, Vec<usize>, Vec<u8>), Value>,
    values: usize,
}

impl Graph {
    /// Adds an operation with one output.
    pub(super) fn op(
        &mut self,
        op: &'static str,
        inputs: &[&str],
        attributes: &[(&'static str, Attribute)],
    ) -> Value {
        let mut outputs = self.op_with_outputs(op, inputs, attributes, 1);
        outputs.pop().unwrap_or_default()
    }

    /// Adds an operation with several outputs. An input that is absent has an empty name.
    pub(super) fn op_with_outputs(
        &mut self,
        op: &'static str,
        inputs: &[&str],
        attributes: &[(&'static str, Attribute)],
        outputs: usize,
    ) -> Vec<Value> {
        let outputs: Vec<Value> = (0..outputs).map(|_| self.new_value(op)).collect();
        self.nodes.push(Node {
            op,
            inputs: inputs.iter().map(|name| name.to_string()).collect(),
            outputs: outputs.clone(),
            attributes: attributes.to_vec(),
        });
        outputs
    }

    fn new_value(&mut self, op: &str) -> Value {
        self.values += 1;
        format!("{}_{}", op.to_lowercase(), self.values)
    }

    /// Adds a constant, or returns an equal one.
    pub(super) fn constant(&mut self, element: Element, shape: &[usize], bytes: Vec<u8>) -> Value {
        const SMALL: usize = 4096;
        let key = (element as u64, shape.to_vec(), bytes);
        if let Some(value) = self.shared.get(&key) {
            return value.clone();
        }
        let name = self.new_value("constant");
        if key.2.len() <= SMALL {
            self.shared.insert(key.clone(), name.clone());
        }
        self.constants.push(Constant {
            name: name.clone(),
            element,
            shape: key.1,
            bytes: key.2,
        });
        name
    }

    /// Adds a constant of f32.
    pub(super) fn floats(&mut self, shape: &[usize], values: &[f32]) -> Value {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(Element::F32, shape, bytes)
    }

    /// Adds one number of f32.
    pub(super) fn float(&mut self, value: f32) -> Value {
        self.floats(&[], &[value])
    }

    /// Adds a vector of whole numbers.
    pub(super) fn ints(&mut self, values: &[i64]) -> Value {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(Element::I64, &[values.len()], bytes)
    }

    /// Adds one whole number.
    pub(super) fn int(&mut self, value: i64) -> Value {
        self.constant(Element::I64, &[], value.to_le_bytes().to_vec())
    }

    /// Adds an output of the graph with this name.
    pub(super) fn output(&mut self, name: &str, value: &str, shape: &[&str]) {
        self.nodes.push(Node {
            op: "Identity",
            inputs: vec![value.to_owned()],
            outputs: vec![name.to_owned()],
            attributes: vec![],
        });
        self.outputs.push(Port::new(name, shape));
    }

    /// Drops operations and constants that no output depends on.
    pub(super) fn drop_unused(&mut self) {
        let mut used: BTreeSet<Value> = BTreeSet::new();
        used.extend(self.outputs.iter().map(|port| port.name.clone()));
        let mut kept = vec![];
        while let Some(node) = self.nodes.pop() {
            if node.outputs.iter().any(|output| used.contains(output)) {
                used.extend(node.inputs.iter().cloned());
                kept.push(node);
            }
        }
        kept.reverse();
        self.nodes = kept;
        self.constants
            .retain(|constant| used.contains(&constant.name));
    }

    /// Counts the bytes of all constants.
    pub(super) fn bytes(&self) -> u64 {
        self.constants.iter().map(|c| c.bytes.len() as u64).sum()
    }
}

impl Node {
    /// Returns an attribute, if the node has it.
    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        let mut attributes = self.attributes.iter();
        attributes.find(|(n, _)| *n == name).map(|(_, value)| value)
    }
}

impl Port {
    pub(super) fn new(name: &str, shape: &[&str]) -> Port {
        Port {
            name: name.to_owned(),
            shape: shape.iter().map(|size| size.to_string()).collect(),
        }
    }
}
