//! The contract of a node: what it declares before a run, and what it does in one.
//!
//! A kind of node is a struct of options that implements [`KindOptions`]: ports and role are constants,
//! [`Config::info`] checks the options when planning, [`Config::build`] makes the [`Node`] that runs.
mod context;
mod error;
pub mod frames;
mod info;
mod kind;
pub mod model_option;
pub mod port;
pub mod report;
pub mod step;

use crate::Result;
use crate::data::entry::Entry;
use arrow::record_batch::RecordBatch;
use compute::tensor::Param;
pub use context::{Clock, NodeContext, RunContext, Synthetic};
pub use error::OptionError;
pub use info::{
    Artifact, NodeInfo, OptimizerSettings, PhaseOutputs, PlannedRows, Source, SourceSettings,
    artifact_owner, shapes,
};
pub use kind::{Kind, KindOptions, Parse, Role, parse};
use port::Shapes;
use serde_json::Value as Json;
use step::{Step, StepInfo};

/// A running node. It is built inside its stage's thread and never leaves it.
pub trait Node {
    /// Prepares for the first step, in the order of the stage; `optimize` restores a checkpoint here.
    fn start(&mut self, _step: &mut Step) -> Result<()> {
        Ok(())
    }
    /// Announces the next step. Only a phase's source is asked; `run` follows and sends its batch.
    fn next_step(&mut self) -> Result<StepInfo> {
        Err("is no source".into())
    }
    /// Processes one batch: takes one value from each connected input, sends one to each output.
    fn run(&mut self, step: &mut Step) -> Result<()>;
    /// Ends the phase after its last step, in the order of the stage: only tape edges carry values,
    /// and models are written.
    fn finish(&mut self, _step: &mut Step) -> Result<()> {
        Ok(())
    }
    /// Ends before the phase does, by a signal or another node's failure: keeps what is worth keeping.
    fn leave(&mut self) -> Result<()> {
        Ok(())
    }
    /// Lends the parameters that `optimize` updates and a checkpoint holds.
    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        vec![]
    }
}

/// A parameter lent to the optimizer.
pub struct Parameter<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub weight: &'a mut Param,
    /// 1 to descend; -1 for a Lagrange multiplier, which ascends.
    pub sign: f32,
}

impl<'a> Parameter<'a> {
    /// Lends a vector that descends.
    pub fn flat(name: String, weight: &'a mut Param) -> Parameter<'a> {
        Parameter {
            name,
            shape: vec![compute::tensor::len(weight)],
            weight,
            sign: 1.0,
        }
    }
}

/// A node's options: what they mean before any data, weight or device is touched.
pub trait Config: Send + Sync {
    /// Checks the options against what comes in and returns what goes out. Reads at most a model's
    /// config.json.
    fn info(&self, earlier: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>>;
    /// Builds the node, in its stage's thread just before the phase, so that it may read what an
    /// earlier phase wrote.
    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>>;
    /// Returns how the node is cached, for kinds whose output rows depend on their input rows alone.
    fn cacheable(&self) -> Option<&dyn Cacheable> {
        None
    }
    /// Returns what the engine asks of a node with [`Role::Source`].
    fn source(&self) -> Option<&dyn Source> {
        None
    }
    /// Returns the settings of a node with [`Role::Optimizer`].
    fn optimizer(&self) -> Option<OptimizerSettings> {
        None
    }
}

/// A node that may carry the option `cache`.
///
/// It takes waveforms on `input`, and perhaps their masks on [`port::MASK`]; what it sends on
/// `output` holds one entry for each row and layer.
pub trait Cacheable: Send + Sync {
    /// Returns the canonical JSON of what the values depend on: the kind, options that change values
    /// (not which layers), and under `model` the hash that `hash_of` gives for each file of the model.
    fn identity(
        &self,
        context: &NodeContext,
        hash_of: &mut dyn FnMut(&std::path::Path) -> Result<String>,
    ) -> Result<Json>;
    /// Returns the layers in the order in which they are sent; `None` if a row is one entry, stored
    /// as layer 0.
    fn layers(&self) -> Option<&[usize]> {
        None
    }
    fn input(&self) -> &'static str;
    fn output(&self) -> &'static str;
    /// Builds the node that computes only these of its layers.
    fn build_for(&self, layers: &[usize], context: &NodeContext) -> Result<Box<dyn Node>>;
    /// Builds the batch that is sent for `rows` from their entries, (rows)(layers).
    fn batch(&self, rows: &RecordBatch, entries: &[Vec<Entry>]) -> Result<RecordBatch>;
    /// Extracts the entry of a row and of the layer at this index from a batch that was sent.
    fn entry(&self, sent: &RecordBatch, row: usize, layer_index: usize) -> Result<Entry>;
}
