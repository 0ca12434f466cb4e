//! What a plan learns about nodes before anything runs.
use crate::Result;
use crate::model::{Architecture, count};
use crate::node::artifact::Artifact;
use crate::node::clock::Clock;
use crate::node::context::NodeContext;
use crate::node::planned_rows::PlannedRows;
use crate::node::port::{FrameStep, Shape, Shapes, Value};
use crate::node::step_info::StepInfo;
use std::collections::{BTreeMap, HashMap};

/// What the plan learns about one node.
#[derive(Default)]
pub struct NodeInfo {
    pub outputs: Shapes,
    /// Parameters of its own.
    pub parameters: Option<u64>,
    /// Multiply-accumulates over SUPERB's lengths.
    pub macs: Option<u64>,
    /// Bytes that its ops retain on a GPU for the backward pass: whatever the batch, and for each
    /// second of audio.
    pub activation_bytes: Option<[u64; 2]>,
    /// Whether the counts are those at an earlier phase's target sparsity.
    pub estimated: bool,
    /// What it will write into its folder.
    pub writes: Option<Artifact>,
    /// Paths that must exist when the graph runs.
    pub reads: Vec<String>,
    pub warnings: Vec<String>,
    /// Outputs on which nothing would come, with the reason: no node may read them.
    pub unavailable: Vec<(&'static str, String)>,
    /// What `check` says of the node beside its sizes.
    pub notes: Vec<String>,
}

impl NodeInfo {
    /// Returns the architecture of the model that the node will write.
    pub fn model(&self) -> Option<&Architecture> {
        match &self.writes {
            Some(Artifact::Model { architecture, .. }) => Some(architecture),
            _ => None,
        }
    }
}

/// The node that makes the steps of a phase.
pub trait Source {
    fn settings(&self) -> SourceSettings;
    /// Reads the manifests and returns the lengths of the rows that an epoch and a dev pass send,
    /// the same in every view; `None` if a manifest is missing.
    fn planned_rows(&self) -> Result<Option<PlannedRows>>;
    /// Draws whole batches of about `rows` rows from all views and the dev set, always the same,
    /// and passes each to `visit` with its step.
    fn sample(
        &self,
        rows: usize,
        context: &NodeContext,
        visit: &mut dyn FnMut(StepInfo, Value) -> Result<()>,
    ) -> Result<SampledFrom>;
}

/// What batches were sampled from.
pub struct SampledFrom {
    /// The number of rows, each view by itself.
    pub all: u64,
    /// Whether every epoch has another view, of which only the first counts.
    pub has_more_views: bool,
}

/// Settings of a source that the engine needs.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    pub manifest: String,
    pub dev: Option<String>,
    pub seconds_per_batch: f64,
    /// Epochs with different crops and masks; 0: every epoch has its own.
    pub views: u64,
    /// Whether train utterances are cut.
    pub crops: bool,
}

impl SourceSettings {
    /// Tells whether a run that resumes after the last update has no step left: not even a dev pass
    /// to measure again.
    pub fn nothing_left(&self, clock: &Clock) -> bool {
        self.dev.is_none() && clock.updates == Some(clock.from)
    }
}

/// Settings of an optimizer that the engine needs.
#[derive(Clone, Debug)]
pub struct OptimizerSettings {
    /// Updates of the phase.
    pub steps: u64,
    /// Highest learning rate of each node with parameters.
    pub rates: BTreeMap<String, f64>,
    pub accumulate: u64,
    pub checkpoint_every: u64,
    /// First updates whose learning rates do not depend on `steps`.
    pub fixed_rates: u64,
    /// The metric that says which dev pass was the best, if the phase ends with its weights.
    pub best_metric: Option<String>,
}

/// A number that the summary of a run prints as it was before and after a phase:
/// `constant` + Σ weight · metric, the metrics measured on the dev set.
#[derive(Clone, Debug, PartialEq)]
pub struct SummaryMetric {
    pub label: &'static str,
    /// Names of metrics, without the prefix `dev/`, and their weights, in the order of summation.
    pub terms: Vec<(&'static str, f64)>,
    pub constant: f64,
}

/// Counts the frames over which [`NodeInfo::macs`] sums: those of SUPERB's utterances.
pub fn superb_frames(step: FrameStep) -> u64 {
    let frames = |samples: usize| (samples + step.hop).saturating_sub(step.window) / step.hop;
    let joined = count::SUPERB.map(|samples| frames(samples) / step.joined);
    joined.iter().sum::<usize>() as u64 * step.split as u64
}

/// Builds the shapes of ports that carry one value each.
pub fn shapes<const N: usize>(ports: [(&'static str, Shape); N]) -> Shapes {
    ports
        .into_iter()
        .map(|(port, shape)| (port, vec![shape]))
        .collect::<HashMap<_, _>>()
}
