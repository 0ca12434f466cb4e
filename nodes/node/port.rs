//! Ports, the values that edges carry between them, and what a plan knows about these values.
mod shape;
mod value;

use crate::data::column;
use crate::data::column::Column;
pub use shape::{Content, FrameStep, LabelledUnit, Shape, Shapes, shape_of};
pub use value::{Gates, Hiddens, Maps, Scalar, Value};

/// The type of the values on an edge.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Carries {
    /// Rows with these columns. Only these may cross threads.
    Batch(&'static [Column]),
    Hiddens,
    /// Attention maps of layers.
    Maps,
    Gates,
    Scalar,
}

impl Carries {
    /// Returns whether the values are on the tape, and so stay in one thread.
    pub fn on_tape(self) -> bool {
        !matches!(self, Carries::Batch(_))
    }
}

/// A named end of an edge.
#[derive(Clone, Copy)]
pub struct Port {
    pub name: &'static str,
    pub carries: Carries,
    /// Whether an input may be left unconnected.
    pub optional: bool,
    /// Whether an input takes more than one edge.
    pub many: bool,
    /// Whether the port also sends or takes its rows as tensors. Between two such ports of one
    /// stage they stay on the device.
    pub tensors: bool,
}

impl Port {
    /// Builds a port that must be connected once and carries no tensors in place of rows.
    pub const fn new(name: &'static str, carries: Carries) -> Self {
        Port {
            name,
            carries,
            optional: false,
            many: false,
            tensors: false,
        }
    }

    /// Returns the port with `optional` set.
    pub const fn optional(self) -> Self {
        Port {
            optional: true,
            ..self
        }
    }

    /// Returns the port with `many` set.
    pub const fn many(self) -> Self {
        Port { many: true, ..self }
    }

    /// Returns the port with `tensors` set.
    pub const fn tensors(self) -> Self {
        Port {
            tensors: true,
            ..self
        }
    }
}

/// The input on which a model takes masked frames.
pub const MASK: Port = Port::new("mask", Carries::Batch(column::MASKS)).optional();

/// The ports of a kind of node.
pub struct Ports {
    pub inputs: &'static [Port],
    pub outputs: &'static [Port],
}
