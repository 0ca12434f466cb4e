//! The file of a graph (onnx/onnx.proto, opset 14).
//!
//! Tensors are written one at a time behind the message that they are in, so no second copy of the
//! weights is made.
use super::{Attribute, Constant, Element, Graph, Node, Port};
use crate::data::protobuf::Message;
use std::io::{self, BufWriter, Write};

/// The version of the operators.
const OPSET: u64 = 14;

/// The version of the format that came with them.
const IR_VERSION: u64 = 7;

impl Graph {
    /// Writes the file, with pairs of keys and values.
    pub(in crate::tool::export::onnx) fn write(
        &self,
        file: impl Write,
        metadata: &[(&str, String)],
    ) -> io::Result<()> {
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
