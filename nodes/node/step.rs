//! What a node sees of one step.
use crate::Result;
use crate::data::column;
use crate::data::targets::Targets;
use crate::node::port;
use crate::node::port::{Gates, Hiddens, Scalar, Value};
use crate::node::report::Measurement;
use crate::node::{Node, NodeContext, Parameter};
use arrow::record_batch::RecordBatch;
use compute::gemm::Precision;
use compute::tensor::Tape;
use std::collections::HashMap;

/// Travels in front of every batch, made by the source alone: all stages see the same.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct StepInfo {
    /// Train batches before this one, in this phase.
    pub step: u64,
    /// The update this batch belongs to, from 1; of a dev batch the update after which the set is measured.
    pub update: u64,
    pub epoch: u64,
    /// Batches before this one in its epoch, or in its dev pass.
    pub batch: u64,
    pub dev: bool,
    /// A train batch: it completes its update. A dev batch: it completes the pass.
    pub closes: bool,
    /// A checkpoint is due after this step.
    pub checkpoint: bool,
    /// The phase ends after this step.
    pub last: bool,
    /// Samples of all rows.
    pub samples: u64,
}

/// A node with its name, as its stage holds it.
pub struct Member {
    pub name: String,
    pub node: Box<dyn Node>,
}

pub struct Step<'a> {
    pub info: StepInfo,
    pub context: &'a NodeContext,
    /// The checkpoint to go on from, in `start`.
    pub resume: Option<&'a std::path::Path>,
    tape: Tape,
    inputs: HashMap<String, Vec<Value>>,
    outputs: HashMap<&'static str, Value>,
    upstream: &'a mut [Member],
    ends: bool,
}

impl<'a> Step<'a> {
    pub fn new(
        info: StepInfo,
        context: &'a NodeContext,
        tape: Tape,
        inputs: HashMap<String, Vec<Value>>,
        upstream: &'a mut [Member],
    ) -> Self {
        Step {
            info,
            context,
            resume: None,
            tape,
            inputs,
            outputs: HashMap::new(),
            upstream,
            ends: false,
        }
    }
    pub fn into_outputs(self) -> HashMap<&'static str, Value> {
        self.outputs
    }
    /// Training batches run with noise (dropout, sampled gates), dev batches without.
    pub fn trains(&self) -> bool {
        !self.info.dev
    }
    pub fn tape(&self) -> &Tape {
        &self.tape
    }
    pub fn send(&mut self, port: &'static str, value: Value) {
        self.outputs.insert(port, value);
    }
    /// The stage ends after this step, before the phase does.
    pub fn end(&mut self) {
        self.ends = true;
    }
    pub fn ends(&self) -> bool {
        self.ends
    }
    /// The parameters of every node that came before this one in its stage: node, parameter.
    pub fn parameters(&mut self) -> Vec<(String, Parameter<'_>)> {
        self.upstream
            .iter_mut()
            .flat_map(|m| {
                let name = m.name.clone();
                m.node
                    .parameters()
                    .into_iter()
                    .map(move |p| (name.clone(), p))
            })
            .collect()
    }
    /// What a benchmark wants to know.
    pub fn record(&self, told: Measurement) {
        self.context
            .run
            .report
            .record(&self.context.node, &self.info, told);
    }
    /// Tells of products with `macs` in the forward pass: backward, a trained node does them once for its input and once
    /// for its weights.
    pub fn record_products(&self, precision: Precision, macs: u64, trained: bool) {
        let passes = if trained && self.trains() { 3 } else { 1 };
        self.record(Measurement::Products {
            precision: precision.here(),
            macs: macs.saturating_mul(passes),
        });
    }
    fn take(&mut self, port: &str) -> Option<Value> {
        self.inputs.get_mut(port).and_then(Vec::pop)
    }
    pub fn batch(&mut self, port: &str) -> Result<RecordBatch> {
        match self.take(port) {
            Some(Value::Batch(b)) => Ok(b),
            _ => Err(format!("no batch came on `{port}`").into()),
        }
    }
    /// None where nothing is connected.
    pub fn optional_batch(&mut self, port: &str) -> Option<RecordBatch> {
        match self.take(port) {
            Some(Value::Batch(b)) => Some(b),
            _ => None,
        }
    }
    /// Which frames of each row are masked; None where nothing is connected.
    pub fn masks(&mut self) -> Result<Option<Vec<Vec<bool>>>> {
        let batch = self.optional_batch(port::MASK.name);
        batch
            .map(|masks| column::flags_by_row(&masks, column::MASK))
            .transpose()
    }
    /// As tensors, however they came.
    pub fn targets(&mut self, port: &str) -> Result<Targets> {
        let shape = self
            .context
            .inputs
            .get(port)
            .and_then(|shapes| shapes.first()?.hiddens());
        match (self.take(port), shape) {
            (Some(Value::Targets(targets)), _) => Ok(targets),
            (Some(Value::Batch(batch)), Some((layers, width))) => {
                Targets::from_batch(&batch, layers, width)
            }
            _ => Err(format!("no targets came on `{port}`").into()),
        }
    }
    pub fn hiddens(&mut self, port: &str) -> Result<Hiddens> {
        match self.take(port) {
            Some(Value::Hiddens(h)) => Ok(h),
            _ => Err(format!("no hiddens came on `{port}`").into()),
        }
    }
    /// None where nothing is connected.
    pub fn gates(&mut self, port: &str) -> Option<Gates> {
        match self.take(port) {
            Some(Value::Gates(g)) => Some(g),
            _ => None,
        }
    }
    pub fn scalars(&mut self, port: &str) -> Vec<Scalar> {
        let values = self.inputs.remove(port).unwrap_or_default();
        values
            .into_iter()
            .filter_map(|v| {
                if let Value::Scalar(s) = v {
                    Some(s)
                } else {
                    None
                }
            })
            .collect()
    }
}
