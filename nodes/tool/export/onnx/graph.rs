//! A graph of ONNX under construction, and its file (onnx/onnx.proto, opset 14).
//!
//! Values are named by the nodes that make them. Tensors are written one at a time behind the
//! message that they are in, so no second copy of the weights is made.
use crate::data::protobuf::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};

/// The version of the operators.
const OPSET: u64 = 14;
/// The version of the format that came with them.
const IR_VERSION: u64 = 7;

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

    /// Writes the file, with pairs of keys and values.
    pub(super) fn write(&self, file: impl Write, metadata: &[(&str, String)]) -> io::Result<()> {
        let mut writer = BufWriter::new(file);
        let mut model = Message::default()
            .int(1, IR_VERSION)
            .text(2, env!("CARGO_PKG_NAME"))
            .text(3, env!("CARGO_PKG_VERSION"))
            .message(8, &Message::default().int(2, OPSET));
        for (key, value) in metadata {
            model = model.message(14, &Message::default().text(1, key).text(2, value));
        }
        let mut graph = Message::default();
        for node in &self.nodes {
            graph = graph.message(1, &node.message());
        }
        graph = graph.text(2, "encoder");
        for (field, ports) in [(11, &self.inputs), (12, &self.outputs)] {
            for port in ports {
                graph = graph.message(field, &port.message());
            }
        }
        let heads: Vec<Message> = self.constants.iter().map(Constant::head).collect();
        let mut length = graph.0.len() as u64;
        for (head, constant) in heads.iter().zip(&self.constants) {
            length += head.0.len() as u64 + constant.bytes.len() as u64;
        }
        writer.write_all(&model.key_of_bytes(7, length).0)?;
        writer.write_all(&graph.0)?;
        for (head, constant) in heads.iter().zip(&self.constants) {
            writer.write_all(&head.0)?;
            writer.write_all(&constant.bytes)?;
        }
        writer.flush()
    }
}

impl Constant {
    /// Returns what precedes the values in the message of the graph.
    fn head(&self) -> Message {
        let mut tensor = Message::default();
        for size in &self.shape {
            tensor = tensor.int(1, *size as u64);
        }
        let tensor = tensor
            .int(2, self.element as u64)
            .text(8, &self.name)
            .key_of_bytes(9, self.bytes.len() as u64);
        let length = tensor.0.len() + self.bytes.len();
        let mut head = Message::default().key_of_bytes(5, length as u64);
        head.0.extend(tensor.0);
        head
    }
}

impl Node {
    fn message(&self) -> Message {
        let mut node = Message::default();
        for input in &self.inputs {
            node = node.text(1, input);
        }
        for output in &self.outputs {
            node = node.text(2, output);
        }
        let name = self.outputs.first().map_or("", String::as_str);
        node = node.text(3, name).text(4, self.op);
        for (name, value) in &self.attributes {
            node = node.message(5, &value.message(name));
        }
        node
    }

    /// Returns an attribute, if the node has it.
    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        let mut attributes = self.attributes.iter();
        attributes.find(|(n, _)| *n == name).map(|(_, value)| value)
    }
}

impl Attribute {
    fn message(&self, name: &str) -> Message {
        const INT: u64 = 2;
        const TEXT: u64 = 3;
        const INTS: u64 = 7;
        let message = Message::default().text(1, name);
        match self {
            Attribute::Int(value) => message.int(3, *value as u64).int(20, INT),
            Attribute::Text(value) => message.text(4, value).int(20, TEXT),
            Attribute::Ints(values) => {
                let values = values.iter();
                values
                    .fold(message, |message, value| message.int(8, *value as u64))
                    .int(20, INTS)
            }
        }
    }
}

impl Port {
    pub(super) fn new(name: &str, shape: &[&str]) -> Port {
        Port {
            name: name.to_owned(),
            shape: shape.iter().map(|size| size.to_string()).collect(),
        }
    }

    fn message(&self) -> Message {
        let mut shape = Message::default();
        for size in &self.shape {
            let dim = match size.parse() {
                Ok(size) => Message::default().int(1, size),
                Err(_) => Message::default().text(2, size),
            };
            shape = shape.message(1, &dim);
        }
        let tensor = Message::default()
            .int(1, Element::F32 as u64)
            .message(2, &shape);
        let of_type = Message::default().message(1, &tensor);
        Message::default().text(1, &self.name).message(2, &of_type)
    }
}
