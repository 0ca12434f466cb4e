//! The contract of a node: what it declares before a run, and what it does in one.
//!
//! A kind of node is a struct of options that implements [`KindOptions`]: its ports and its role
//! are constants, [`Config::info`] checks the options when planning, and [`Config::build`] makes
//! the [`Node`] that runs.
mod artifact;
pub mod bad_files;
mod cacheable;
mod clock;
pub mod contents;
mod context;
mod error;
mod finite;
pub mod frames;
mod head;
pub mod head_file;
mod hidden_input;
mod info;
mod kind;
pub mod layer_outputs;
mod layers_option;
pub mod model_option;
pub mod outcomes;
pub mod pass_metrics;
mod planned_rows;
pub mod port;
pub mod report;
pub mod row_counts;
mod shard;
mod shared_features;
mod shared_models;
pub mod step;
mod step_info;

use crate::Result;
pub use artifact::{Artifact, PhaseOutputs, artifact_owner, folder_owner, path_in_run};
pub use cacheable::{BuiltNode, Cacheable, LOGITS_PORT, StoredEntry};
pub use clock::Clock;
use compute::tensor::Param;
pub use context::{NodeContext, RunContext, Synthetic};
pub use error::OptionError;
pub use finite::check_finite;
pub use head::Head;
pub use hidden_input::HiddenInput;
pub use info::{
    NodeInfo, OptimizerSettings, SampledFrom, Source, SourceSettings, SummaryMetric, shapes,
    superb_frames,
};
pub use kind::{Kind, KindOptions, Parse, Role, parse};
pub use layers_option::LayersOption;
pub use planned_rows::{LengthCounts, PlannedRows, SampledRows};
use port::Shapes;
pub use shard::Shard;
pub use shared_features::{FeatureSource, SharedFeatures};
pub use shared_models::{SharedModel, SharedModels};
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
    /// Returns why a row that the node sends depends on the other rows of its batch, if it does.
    fn reads_whole_batches(&self) -> Option<&'static str> {
        None
    }
    /// Returns whether train rows must be whole utterances, because what the node reads or writes is
    /// of whole ones.
    fn needs_whole_rows(&self) -> bool {
        false
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
