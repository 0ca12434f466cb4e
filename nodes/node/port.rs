//! What may travel along an edge, and what the plan knows of it before anything runs.
use crate::Result;
use crate::data::column;
use crate::data::column::Column;
use crate::data::targets::Targets;
use crate::prune::Pruning;
use arrow::record_batch::RecordBatch;
use compute::tensor::{Hidden, Number, Tape, Vector, put, tensor};
use std::collections::{BTreeMap, HashMap};

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Carries {
    /// Rows with these columns; the only kind that may cross threads.
    Batch(&'static [Column]),
    Hiddens,
    Gates,
    Scalar,
}

impl Carries {
    pub fn on_tape(self) -> bool {
        !matches!(self, Carries::Batch(_))
    }
}

/// A named end of an edge.
#[derive(Clone, Copy)]
pub struct Port {
    pub name: &'static str,
    pub carries: Carries,
    pub optional: bool,
    /// Takes more than one edge.
    pub many: bool,
    /// Sends or takes its rows as tensors too: between two such ports of one stage they stay where they are.
    pub tensors: bool,
}

impl Port {
    pub const fn new(name: &'static str, carries: Carries) -> Self {
        Port {
            name,
            carries,
            optional: false,
            many: false,
            tensors: false,
        }
    }
    pub const fn optional(self) -> Self {
        Port {
            optional: true,
            ..self
        }
    }
    pub const fn many(self) -> Self {
        Port { many: true, ..self }
    }
    pub const fn tensors(self) -> Self {
        Port {
            tensors: true,
            ..self
        }
    }
}

/// Where a model takes masked frames.
pub const MASK: Port = Port::new("mask", Carries::Batch(column::MASKS)).optional();

pub struct Ports {
    pub inputs: &'static [Port],
    pub outputs: &'static [Port],
}

/// What a value looks like, known when planning.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Rows, or a number: nothing to say.
    Plain,
    /// Hidden states of these layers, each so wide.
    Hiddens { layers: Vec<usize>, width: usize },
    /// Frames of 10 ms, each so wide.
    Features { width: usize },
    /// Numbers of clusters, below `classes`.
    Labels { classes: usize },
    /// One gate for each of these units.
    Gates(Box<Pruning>),
}

impl Shape {
    /// How many layers of hidden states, and their width.
    pub fn hiddens(&self) -> Option<(usize, usize)> {
        match self {
            Shape::Hiddens { layers, width } => Some((layers.len(), *width)),
            _ => None,
        }
    }
}

/// By port; a port whose shape an earlier problem made unknown is absent.
pub type Shapes = HashMap<&'static str, Vec<Shape>>;

/// Outputs of a model's layers on the tape.
#[derive(Clone)]
pub struct Hiddens {
    /// (number of the layer, its output), in the order asked for.
    pub layers: Vec<(usize, Hidden<Tape>)>,
}

/// Factors in [0, 1] on the units of a model, by unit vector: `conv.0`, `head.3`, `ffn.11`.
#[derive(Clone, Default)]
pub struct Gates {
    pub vectors: BTreeMap<String, Vector<Tape>>,
    /// At the end of a phase: how the student is to shrink. None while training.
    pub finalize: Option<crate::prune::Finalize>,
}

/// A loss or a penalty on the tape, with the numbers to log about it.
#[derive(Clone)]
pub struct Scalar {
    pub value: Number<Tape>,
    /// Name and value.
    pub parts: Vec<(String, f32)>,
    /// What the parts weigh in a mean over batches: valid frames.
    pub weight: f64,
    /// The node whose loss it is; empty for a penalty.
    pub node: String,
}

impl Scalar {
    /// Adds nothing and says nothing.
    pub fn nothing(tape: &Tape) -> Scalar {
        Scalar {
            value: put(&tensor(vec![0.0], ()), tape),
            parts: vec![],
            weight: 0.0,
            node: String::new(),
        }
    }
}

#[derive(Clone)]
pub enum Value {
    Batch(RecordBatch),
    Targets(Targets),
    Hiddens(Hiddens),
    Gates(Gates),
    Scalar(Scalar),
}

impl Value {
    /// As it crosses threads.
    ///
    /// # Errors
    /// It is on the tape.
    pub fn batch(&self) -> Result<RecordBatch> {
        match self {
            Value::Batch(batch) => Ok(batch.clone()),
            Value::Targets(targets) => targets.batch(),
            _ => Err("what is on the tape does not cross threads".into()),
        }
    }
}
