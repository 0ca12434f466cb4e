//! The values that edges carry.
use crate::Result;
use crate::data::targets::Targets;
use crate::model::LayerMap;
use crate::node::outcomes::Outcomes;
use crate::prune::Finalize;
use arrow::record_batch::RecordBatch;
use compute::tensor::{Hidden, Number, Tape, Vector, put, tensor};
use std::collections::BTreeMap;

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
