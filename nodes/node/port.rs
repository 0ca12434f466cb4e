//! Ports, the values that edges carry between them, and what a plan knows about these values.
use crate::Result;
use crate::data::column;
use crate::data::column::Column;
use crate::data::targets::Targets;
use crate::data::transcripts::Vocabulary;
use crate::model::{LayerMap, Numbering};
use crate::node::OptionError;
use crate::node::outcomes::Outcomes;
use crate::prune::{Finalize, Pruning};
use arrow::record_batch::RecordBatch;
use compute::tensor::{Hidden, Number, Tape, Vector, put, tensor};
use std::collections::{BTreeMap, HashMap};

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

/// What a plan knows about the values of a port.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Rows or a number, with no property that a plan checks.
    Plain,
    /// Hidden states of these layers, with `width` values per frame.
    Hiddens {
        layers: Vec<usize>,
        width: usize,
        step: FrameStep,
        content: Content,
    },
    /// Attention maps of these layers, from 1.
    Maps { layers: Vec<usize> },
    /// Frames of 10 ms, with `width` values each.
    Features { width: usize },
    /// Labels, below `classes` if that is known.
    Labels {
        classes: Option<usize>,
        numbering: Numbering,
        of: LabelledUnit,
    },
    /// What is said in each utterance, in numbers of units.
    Sequences { vocabulary: Vocabulary },
    /// One gate for each of these units.
    Gates(Box<Pruning>),
    /// A loss or a penalty, with the names of the metrics that it has in a dev pass.
    Loss {
        metrics: Vec<String>,
        /// Whether it is a penalty, whose metrics never have the node's name in front.
        is_penalty: bool,
    },
}

impl Shape {
    /// Returns hidden states with other content; other shapes as they are.
    pub fn with_content(self, content: Content) -> Shape {
        match self {
            Shape::Hiddens {
                layers,
                width,
                step,
                ..
            } => Shape::Hiddens {
                layers,
                width,
                step,
                content,
            },
            other => other,
        }
    }

    /// Returns a loss with these metrics in a dev pass.
    pub fn loss(metrics: &[&str]) -> Shape {
        Shape::Loss {
            metrics: metrics.iter().map(|name| (*name).to_owned()).collect(),
            is_penalty: false,
        }
    }

    /// Returns a penalty with these metrics in a dev pass.
    pub fn penalty(metrics: &[&str]) -> Shape {
        Shape::Loss {
            metrics: metrics.iter().map(|name| (*name).to_owned()).collect(),
            is_penalty: true,
        }
    }

    /// Returns the number of layers and the width of hidden states.
    pub fn hiddens(&self) -> Option<(usize, usize)> {
        match self {
            Shape::Hiddens { layers, width, .. } => Some((layers.len(), *width)),
            _ => None,
        }
    }
}

/// What the values of hidden states are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Content {
    /// Outputs of a model's layers.
    #[default]
    Layers,
    /// Outputs of projection heads.
    Projections,
    /// Logits of classes.
    Logits(Numbering),
}

impl Content {
    /// Returns the error that what comes on two inputs of one node numbers classes in two ways.
    pub fn numbering_error(
        self,
        port: &str,
        other: Content,
        other_port: &str,
    ) -> Option<OptionError> {
        let (Content::Logits(numbering), Content::Logits(other)) = (self, other) else {
            return None;
        };
        (!numbering.agrees_with(other)).then(|| {
            let message = format!(
                "classes of `{port}` are numbered {numbering}, those of `{other_port}` {other}: give \
                 both the same `classes`"
            );
            OptionError::at("inputs", message)
        })
    }
}

/// What has a label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LabelledUnit {
    /// Each frame of 20 ms.
    Frame,
    /// The utterance, or each slot of it.
    Utterance,
}

impl LabelledUnit {
    /// Returns the error that a node takes labels of another unit on `port`.
    pub fn error_unless(self, wanted: LabelledUnit, port: &str) -> Option<OptionError> {
        let name = |unit| match unit {
            LabelledUnit::Frame => "frames",
            LabelledUnit::Utterance => "utterances",
        };
        let message = format!("takes labels of {}, not of {}", name(wanted), name(self));
        (self != wanted).then(|| OptionError::input(port, message))
    }
}

/// How the frames of hidden states lie against those of 20 ms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameStep {
    /// Frames of 20 ms that are joined to one, except in layer 0. What is left of a row is dropped.
    pub joined: usize,
    /// Frames that each of them was split into again.
    pub split: usize,
    /// Whether a row is one frame, the mean of all.
    pub pooled: bool,
}

impl Default for FrameStep {
    /// Returns the step of 20 ms.
    fn default() -> Self {
        FrameStep {
            joined: 1,
            split: 1,
            pooled: false,
        }
    }
}

/// Shapes by port, one for each edge. A port that is not connected is absent. One whose shape an
/// error upstream leaves unknown has none.
pub type Shapes = HashMap<&'static str, Vec<Shape>>;

/// Outputs of a model's layers on the tape.
#[derive(Clone)]
pub struct Hiddens {
    /// The number and the output of each layer, in the order of the option `layers`.
    pub layers: Vec<(usize, Hidden<Tape>)>,
}

/// Attention maps of a model's layers on the tape, before dropout.
#[derive(Clone)]
pub struct Maps {
    /// The number and the map of each layer, in the order of the option `layers`.
    pub layers: Vec<(usize, LayerMap<Tape>)>,
}

/// Factors in [0, 1] on the units of a model.
#[derive(Clone, Default)]
pub struct Gates {
    /// By unit vector: `conv.0`, `head.3`, `ffn.11`.
    pub vectors: BTreeMap<String, Vector<Tape>>,
    /// How the student is to shrink at the end of the phase; `None` while training.
    pub finalize: Option<Finalize>,
}

/// A loss or a penalty on the tape, with the numbers to log about it.
#[derive(Clone)]
pub struct Scalar {
    pub value: Number<Tape>,
    /// Names and values of metrics that are means over the batch.
    pub parts: Vec<(String, f32)>,
    /// What became of the rows, for metrics that are none.
    pub outcomes: Vec<Outcomes>,
    /// The weight of the batch in a mean over dev batches: its number of valid frames.
    pub weight: f64,
    /// The node whose loss it is; empty for a penalty.
    pub node: String,
}

impl Scalar {
    /// Returns a penalty of 0 without metrics.
    pub fn zero(tape: &Tape) -> Scalar {
        Scalar {
            value: put(&tensor(vec![0.0], ()), tape),
            parts: vec![],
            outcomes: vec![],
            weight: 0.0,
            node: String::new(),
        }
    }
}

/// A value that an edge carries.
#[derive(Clone)]
pub enum Value {
    Batch(RecordBatch),
    Targets(Targets),
    Hiddens(Hiddens),
    Maps(Maps),
    Gates(Gates),
    Scalar(Scalar),
}

impl Value {
    /// Returns the value in the form in which it crosses threads.
    ///
    /// # Errors
    /// The value is on the tape.
    pub fn batch(&self) -> Result<RecordBatch> {
        match self {
            Value::Batch(batch) => Ok(batch.clone()),
            Value::Targets(targets) => targets.batch(),
            _ => Err("a value on the tape cannot cross threads".into()),
        }
    }
}
