//! One step of a node: its inputs, its outputs, and what it may ask about the step.
use crate::Result;
use crate::data::column;
use crate::data::targets::Targets;
use crate::node::port;
use crate::node::port::{Gates, Hiddens, Maps, Scalar, Value};
use crate::node::report::Measurement;
pub use crate::node::step_info::StepInfo;
use crate::node::{Node, NodeContext, Parameter};
use arrow::record_batch::RecordBatch;
use compute::gemm::Precision;
use compute::tensor::Tape;
use std::collections::HashMap;
use std::path::Path;

/// A node and its name.
pub struct Member {
    pub name: String,
    pub node: Box<dyn Node>,
}

/// What a node works with in one step.
pub struct Step<'a> {
    pub info: StepInfo,
    pub context: &'a NodeContext,
    /// The checkpoint to resume from; set only for [`Node::start`].
    pub resume: Option<&'a Path>,
    tape: Tape,
    inputs: HashMap<String, Vec<Value>>,
    outputs: HashMap<&'static str, Value>,
    /// The nodes that run before this one in its stage.
    upstream: &'a mut [Member],
    ends: bool,
}

impl<'a> Step<'a> {
    /// Prepares a step of the node of `context`.
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

    /// Returns what the node sent, by output port.
    pub fn into_outputs(self) -> HashMap<&'static str, Value> {
        self.outputs
    }

    /// Returns whether the batch is for training: neither a dev batch nor in a phase without an
    /// optimizer. Such batches use dropout and sampled gates, others do not.
    pub fn trains(&self) -> bool {
        !self.info.dev && self.context.run.has_optimizer
    }

    /// Returns whether the batch is the last of a dev pass, or of a test phase: one without an
    /// optimizer.
    pub fn ends_pass(&self) -> bool {
        match self.info.dev {
            true => self.info.closes,
            false => !self.context.run.has_optimizer && self.info.last,
        }
    }

    /// Returns the tape of the stage in this step.
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// Sends a value on an output port.
    pub fn send(&mut self, port: &'static str, value: Value) {
        self.outputs.insert(port, value);
    }

    /// Requests that the stage end after this step, before the phase does.
    pub fn end(&mut self) {
        self.ends = true;
    }

    /// Returns whether the node requested the end of the stage.
    pub fn ends(&self) -> bool {
        self.ends
    }

    /// Returns the parameters of all nodes before this one in its stage, each with its node's name.
    pub fn parameters(&mut self) -> Vec<(String, Parameter<'_>)> {
        let mut parameters = vec![];
        for member in self.upstream.iter_mut() {
            for parameter in member.node.parameters() {
                parameters.push((member.name.clone(), parameter));
            }
        }
        parameters
    }

    /// Reports a measurement of this node.
    pub fn record(&self, measurement: Measurement) {
        let context = self.context;
        let report = &context.run.report;
        report.record(&context.node, &self.info, measurement);
    }

    /// Reports the matrix products of this node, which take `macs` multiply-accumulates in the
    /// forward pass.
    ///
    /// The backward pass of a trained node takes twice as many: for the gradients of its input and
    /// of its weights.
    pub fn record_products(&self, precision: Precision, macs: u64, trained: bool) {
        let passes = if trained && self.trains() { 3 } else { 1 };
        self.record(Measurement::Products {
            precision: precision.on_device(),
            macs: macs.saturating_mul(passes),
        });
    }

    fn take(&mut self, port: &str) -> Option<Value> {
        self.inputs.get_mut(port).and_then(Vec::pop)
    }

    /// Takes the batch of an input port.
    pub fn batch(&mut self, port: &str) -> Result<RecordBatch> {
        self.optional_batch(port)
            .ok_or_else(|| format!("no batch came on `{port}`").into())
    }

    /// Takes the batch of an input port, or `None` if nothing is connected.
    pub fn optional_batch(&mut self, port: &str) -> Option<RecordBatch> {
        match self.take(port) {
            Some(Value::Batch(batch)) => Some(batch),
            _ => None,
        }
    }

    /// Takes the input [`port::MASK`]: whether each frame of each row is masked; `None` if nothing
    /// is connected.
    pub fn masks(&mut self) -> Result<Option<Vec<Vec<bool>>>> {
        let batch = self.optional_batch(port::MASK.name);
        batch
            .map(|masks| column::flags_by_row(&masks, column::MASK))
            .transpose()
    }

    /// Takes targets as tensors, and uploads them if they came as a batch.
    pub fn targets(&mut self, port: &str) -> Result<Targets> {
        let planned = self.context.inputs.get(port);
        let shape = planned.and_then(|shapes| shapes.first()?.hiddens());
        match (self.take(port), shape) {
            (Some(Value::Targets(targets)), _) => Ok(targets),
            (Some(Value::Batch(batch)), Some((layers, width))) => {
                Targets::from_batch(&batch, layers, width)
            }
            _ => Err(format!("no targets came on `{port}`").into()),
        }
    }

    /// Takes the hidden states of an input port.
    pub fn hiddens(&mut self, port: &str) -> Result<Hiddens> {
        match self.take(port) {
            Some(Value::Hiddens(hiddens)) => Ok(hiddens),
            _ => Err(format!("no hiddens came on `{port}`").into()),
        }
    }

    /// Takes the attention maps of an input port.
    pub fn maps(&mut self, port: &str) -> Result<Maps> {
        match self.take(port) {
            Some(Value::Maps(maps)) => Ok(maps),
            _ => Err(format!("no maps came on `{port}`").into()),
        }
    }

    /// Takes the gates of an input port, or `None` if nothing is connected.
    pub fn gates(&mut self, port: &str) -> Option<Gates> {
        match self.take(port) {
            Some(Value::Gates(gates)) => Some(gates),
            _ => None,
        }
    }

    /// Takes the losses and penalties of all edges into an input port.
    pub fn scalars(&mut self, port: &str) -> Vec<Scalar> {
        let mut scalars = vec![];
        for value in self.inputs.remove(port).unwrap_or_default() {
            if let Value::Scalar(scalar) = value {
                scalars.push(scalar);
            }
        }
        scalars
    }
}
