//! The contract of a node: what it declares before a run, and what it does in one.
//!
//! A kind of node is a struct of options that implements [`KindOptions`]: its ports and its role
//! are constants, [`Config::info`] checks the options when planning, and [`Config::build`] makes
//! the [`Node`] that runs.
mod clock;
pub mod contents;
mod context;
mod error;
mod finite;
pub mod frames;
mod info;
mod kind;
pub mod model_option;
pub mod port;
pub mod report;
pub mod row_counts;
mod shared_models;
pub mod step;
mod step_info;

use crate::Result;
use crate::data::entry::Entry;
use crate::data::read_files::ReadFiles;
use arrow::record_batch::RecordBatch;
pub use clock::Clock;
use compute::tensor::Param;
pub use context::{NodeContext, RunContext, Synthetic};
pub use error::OptionError;
pub use finite::check_finite;
pub use info::{
    Artifact, NodeInfo, OptimizerSettings, PhaseOutputs, PlannedRows, Source, SourceSettings,
    SummaryMetric, artifact_owner, shapes, superb_frames,
};
pub use kind::{Kind, KindOptions, Parse, Role, parse};
use port::Shapes;
use serde_json::Value as Json;
pub use shared_models::SharedModels;
use step::{Step, StepInfo};

/// A running node. It is built inside its stage's thread and never leaves it.
pub trait Node {
    /// Prepares for the first step, in the order of the stage; `optimize` restores a checkpoint
    /// here.
    fn start(&mut self, _step: &mut Step) -> Result<()> {
        Ok(())
    }
    /// Returns the next step of the phase. Called on the phase's source only; `run` follows and
    /// sends the batch of this step.
    fn next_step(&mut self) -> Result<StepInfo> {
        Err("is no source".into())
    }
    /// Processes one batch: takes one value from each connected input, sends one to each output.
    fn run(&mut self, step: &mut Step) -> Result<()>;
    /// Ends the phase after its last step, in the order of the stage. Only tape edges carry values.
    /// Models are written here.
    fn finish(&mut self, _step: &mut Step) -> Result<()> {
        Ok(())
    }
    /// Ends the node before its phase does, after a signal or another node's failure. A cache
    /// writes its new rows here.
    fn leave(&mut self) -> Result<()> {
        Ok(())
    }
    /// Lends the parameters that `optimize` updates and checkpoints contain.
    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        vec![]
    }
}

/// A parameter lent to the optimizer.
pub struct Parameter<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub weight: &'a mut Param,
    /// The sign of the step along the negative gradient: 1 to minimise the loss, -1 for a Lagrange
    /// multiplier, which maximises it.
    pub sign: f32,
}

impl<'a> Parameter<'a> {
    /// Lends a vector that minimises the loss.
    pub fn flat(name: String, weight: &'a mut Param) -> Parameter<'a> {
        Parameter {
            name,
            shape: vec![compute::tensor::len(weight)],
            weight,
            sign: 1.0,
        }
    }
}

/// A node's options, and what they mean before any data, weight or device is touched.
pub trait Config: Send + Sync {
    /// Checks the options against the shapes of the inputs and returns what the plan needs, such as
    /// the shapes of the outputs. Reads at most a model's config.json and the names of its tensors.
    fn info(&self, earlier: &PhaseOutputs, inputs: &Shapes) -> Result<NodeInfo, Vec<OptionError>>;
    /// Builds the node, in its stage's thread just before the phase, so that it may read what an
    /// earlier phase wrote.
    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>>;
    /// Returns how the node is cached, for kinds whose output rows depend on their input rows
    /// alone.
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
    /// Returns the number that the summary of a run prints about this node, before and after each
    /// phase.
    fn summary(&self) -> Option<SummaryMetric> {
        None
    }
}

/// A node with the files that it was built from.
pub struct BuiltNode {
    pub node: Box<dyn Node>,
    /// The bytes of each file that decide the node's values, as they were read.
    pub read_files: ReadFiles,
}

/// A node that may carry the option `cache`.
///
/// It takes waveforms on `input`, and may take their masks on [`port::MASK`]. The batch that it
/// sends on `output` has one entry for each row and layer.
pub trait Cacheable: Send + Sync {
    /// Returns the JSON of what the values depend on: the kind, the options that change values
    /// (without `layers`), and under `model` the hash that `hash_of` returns for each file of the
    /// model.
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
    /// Returns the name of the input port for waveforms.
    fn input(&self) -> &'static str;
    /// Returns the name of the output port.
    fn output(&self) -> &'static str;
    /// Builds the node so that it computes these layers only.
    fn build_for(&self, layers: &[usize], context: &NodeContext) -> Result<BuiltNode>;
    /// Builds the output batch for the input batch `rows` from the entries, (rows)(layers).
    fn batch(&self, rows: &RecordBatch, entries: &[Vec<Entry>]) -> Result<RecordBatch>;
    /// Extracts the entry of a row and of the layer at `layer_index` from an output batch.
    fn entry(&self, sent: &RecordBatch, row: usize, layer_index: usize) -> Result<Entry>;
}
