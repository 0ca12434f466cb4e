//! The two traits of every node, and the reading of its options.
pub mod frames;
pub mod model_option;
pub mod port;
pub mod report;
pub mod step;
use crate::Result;
use crate::data::entry::Entry;
use crate::kind::{decode, optimize};
use crate::model::Architecture;
use crate::node::port::{Ports, Shapes};
use crate::node::report::Report;
use crate::node::step::{Step, StepInfo};
use arrow::record_batch::RecordBatch;
use compute::tensor::Param;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What runs. Built inside its stage's thread and never leaves it.
pub trait Node {
    /// Before the first step, in the order of the stage: nothing arrives yet; `optimize` restores a checkpoint here.
    fn start(&mut self, _step: &mut Step) -> Result<()> {
        Ok(())
    }
    /// Only for a phase's source: the head of the next step. `run` follows and sends its batch.
    fn next_step(&mut self) -> Result<StepInfo> {
        Err("is no source".into())
    }
    /// One batch: takes one value from each connected input, sends one to each output.
    fn run(&mut self, step: &mut Step) -> Result<()>;
    /// After the last step, in the order of the stage: only tape edges carry values; models are written here.
    fn finish(&mut self, _step: &mut Step) -> Result<()> {
        Ok(())
    }
    /// The run ends before the phase does (a signal, or a failure elsewhere): keep what is worth keeping.
    fn leave(&mut self) -> Result<()> {
        Ok(())
    }
    /// What `optimize` moves and a checkpoint holds.
    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        vec![]
    }
}

pub struct Parameter<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub weight: &'a mut Param,
    /// -1 for a multiplier, which climbs.
    pub sign: f32,
}

impl<'a> Parameter<'a> {
    /// A vector that goes down its slope.
    pub fn flat(name: String, weight: &'a mut Param) -> Parameter<'a> {
        Parameter {
            name,
            shape: vec![compute::tensor::len(weight)],
            weight,
            sign: 1.0,
        }
    }
}

/// What a node's options say before any data, weight or device is touched.
pub trait Config: Send + Sync {
    fn ports(&self) -> Ports;
    /// Checks options against what comes in, and says what goes out. Reads at most a model's config.json.
    fn info(
        &self,
        phase_outputs: &PhaseOutputs,
        inputs: &Shapes,
    ) -> Result<NodeInfo, Vec<OptionError>>;
    /// Runs in the stage's own thread, just before its phase, so that it may read what an earlier phase wrote.
    fn build(&self, context: &NodeContext) -> Result<Box<dyn Node>>;
    /// For a node whose rows depend only on its input's rows: what else its values depend on.
    fn cacheable(&self) -> Option<&dyn Cacheable> {
        None
    }
    /// Whether the node has parameters that `optimize` must have a rate for.
    fn trains(&self) -> bool {
        false
    }
    fn role(&self) -> Role<'_> {
        Role::Other
    }
}

/// A node that may carry the option `cache`: it takes waveforms on `input`, and perhaps their masks on [`crate::node::port::MASK`],
/// and what it sends on `output` holds one entry for each row and layer.
pub trait Cacheable: Send + Sync {
    /// The canonical JSON of what the values depend on: kind, options that change values (not which layers), and under
    /// `model` the hash that `hash_of` gives for each file of the model.
    fn identity(
        &self,
        context: &NodeContext,
        hash_of: &mut dyn FnMut(&std::path::Path) -> Result<String>,
    ) -> Result<Json>;
    /// Which layers, in the order in which they are sent; None: a row is one entry, as if of a layer 0.
    fn layers(&self) -> Option<&[usize]> {
        None
    }
    fn input(&self) -> &'static str;
    fn output(&self) -> &'static str;
    /// The node that computes only these of its layers.
    fn build_for(&self, layers: &[usize], context: &NodeContext) -> Result<Box<dyn Node>>;
    /// The batch that is sent for `rows`, whose entries these are: (rows)(layers).
    fn batch(&self, rows: &RecordBatch, entries: &[Vec<Entry>]) -> Result<RecordBatch>;
    /// What a batch that was sent says of a row, of the layer at this place.
    fn entry(&self, sent: &RecordBatch, row: usize, place: usize) -> Result<Entry>;
}

/// What the plan must know of nodes that a phase has one of.
pub enum Role<'a> {
    Other,
    Source(&'a decode::Options),
    Optimizer(&'a optimize::Options),
    /// Writes files that a phase has one of.
    Log,
}

/// What the plan learns about a node.
#[derive(Default)]
pub struct NodeInfo {
    pub outputs: Shapes,
    /// Parameters of its own, and multiply-accumulates over SUPERB's lengths.
    pub parameters: Option<u64>,
    pub macs: Option<u64>,
    /// Bytes that its ops keep on a GPU for its gradients: whatever the batch, and a second of audio.
    pub activation_bytes: Option<[u64; 2]>,
    /// The counts are those at an earlier phase's target sparsity.
    pub estimated: bool,
    /// The model folder it will write under its own name, and whether that is an estimate.
    pub leaves: Option<(Architecture, bool)>,
    /// Heads it will write: width in, width out, groups of layers.
    pub leaves_heads: Option<Vec<Vec<usize>>>,
    /// Centroids it will write: how many, how wide.
    pub leaves_clusters: Option<(usize, usize)>,
    /// Labels it will write: of how many clusters, if that is known.
    pub leaves_labels: Option<Option<usize>>,
    /// Paths that must be there when the graph runs.
    pub reads: Vec<String>,
    pub warnings: Vec<String>,
}

/// What earlier phases of the same file will have written, by `phase/node`.
#[derive(Default)]
pub struct PhaseOutputs {
    pub models: BTreeMap<String, (Architecture, bool)>,
    pub heads: BTreeMap<String, Vec<Vec<usize>>>,
    pub clusters: BTreeMap<String, (usize, usize)>,
    pub labels: BTreeMap<String, Option<usize>>,
}

/// The `phase/node` that leaves the file at this path, `$OUT/phase/node/file`; None for other paths.
pub fn leaver<'a>(path: &'a str, file: &str) -> Option<&'a str> {
    path.strip_prefix("$OUT/")?
        .strip_suffix(file)?
        .strip_suffix('/')
}

/// The phase ends after `updates` updates (None: after the source's `views` epochs) and begins after `from` of them.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub updates: Option<u64>,
    pub accumulate: u64,
    pub checkpoint_every: u64,
    pub from: u64,
}

/// Batches of noise in place of a manifest: rows, samples of each.
#[derive(Clone, Copy, Debug)]
pub struct Synthetic {
    pub rows: usize,
    pub samples: usize,
}

/// Where a node stands.
#[derive(Clone)]
pub struct NodeContext {
    pub node: String,
    pub phase: String,
    /// The file has phases, so their names are folders.
    pub phases: bool,
    pub run: PathBuf,
    /// BLAKE3 of the resolved graph.
    pub graph: String,
    pub seed: u64,
    pub clock: Clock,
    /// Only timed: what earlier phases have not written is built at its target size, nothing is kept.
    pub bench: bool,
    pub synthetic: Option<Synthetic>,
    /// What comes in, as planned.
    pub inputs: Shapes,
    /// What earlier phases leave, as planned: `bench` builds on it what they have not written.
    pub phase_outputs: Arc<PhaseOutputs>,
    pub report: Arc<dyn Report>,
    /// A signal came: finish the running update, write a checkpoint, end.
    pub stop: Arc<AtomicBool>,
}

impl NodeContext {
    /// The folder of this node in the run.
    pub fn folder(&self) -> PathBuf {
        if self.phases {
            self.run.join(&self.phase).join(&self.node)
        } else {
            self.run.join(&self.node)
        }
    }
    /// Paths stand as the user wrote them, relative to the working directory; `$OUT` is the run's folder.
    pub fn path(&self, text: &str) -> PathBuf {
        text.strip_prefix("$OUT/")
            .map_or_else(|| text.into(), |rest| self.run.join(rest))
    }
    /// The key of a place of chance in this node.
    pub fn key(&self, site: &str) -> compute::random::Key {
        compute::random::Key::new(self.seed, &[&self.phase, &self.node, site])
    }
    pub fn say(&self, text: impl Into<String>) {
        self.report
            .say(&format!("node `{}`: {}", self.node, text.into()));
    }
}

#[cfg(test)]
impl NodeContext {
    /// Where a test puts a node: alone, in the phase `main` without end.
    pub fn alone(node: &str, report: Arc<dyn Report>) -> NodeContext {
        NodeContext {
            node: node.into(),
            phase: "main".into(),
            phases: false,
            run: PathBuf::new(),
            graph: String::new(),
            seed: 0,
            clock: Clock {
                updates: None,
                accumulate: 1,
                checkpoint_every: 100,
                from: 0,
            },
            bench: false,
            synthetic: None,
            inputs: Shapes::default(),
            phase_outputs: Arc::default(),
            report,
            stop: Arc::default(),
        }
    }
}

/// One wrong option: the way to it (keys and indices) and the sentence.
#[derive(Debug)]
pub struct OptionError {
    pub path: Vec<String>,
    pub says: String,
}

impl OptionError {
    /// `way` is dotted: `layers`, `terms.0.weight`; empty for the node itself.
    pub fn at(way: &str, says: impl Into<String>) -> OptionError {
        OptionError {
            path: way
                .split('.')
                .filter(|w| !w.is_empty())
                .map(str::to_owned)
                .collect(),
            says: says.into(),
        }
    }
    /// If a number is out of its range.
    pub fn outside(option: &str, n: usize, range: RangeInclusive<usize>) -> Option<OptionError> {
        let says = || {
            format!(
                "option `{option}`: {n} is not from {} to {}",
                range.start(),
                range.end()
            )
        };
        (!range.contains(&n)).then(|| OptionError::at(option, says()))
    }
}

/// A kind of node, by its name in the graph file.
pub struct Kind {
    pub name: &'static str,
    pub parse: Parse,
    /// JSON Schema of its options; `description` says what the node does.
    pub schema: fn() -> Json,
}

impl Kind {
    pub const fn of<O: DeserializeOwned + JsonSchema + Config + 'static>(
        name: &'static str,
    ) -> Kind {
        Kind {
            name,
            parse: parse::<O>,
            schema: schema::<O>,
        }
    }
}

/// Whole in itself, with the descriptions of doc comments and serde's defaults.
fn schema<O: JsonSchema>() -> Json {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let mut schema = O::json_schema(&mut settings.into_generator());
    let rust = |s: &mut Schema| {
        s.as_object_mut()
            .into_iter()
            .for_each(|s| s.retain(|key, _| key != "format"))
    };
    RecursiveTransform(rust).transform(&mut schema);
    schema.into()
}

/// Reads a kind's options; the first thing that is wrong with them.
pub type Parse = fn(Json) -> Result<Box<dyn Config>, OptionError>;

pub fn parse<O: DeserializeOwned + Config + 'static>(
    options: Json,
) -> Result<Box<dyn Config>, OptionError> {
    match serde_path_to_error::deserialize::<_, O>(options) {
        Ok(options) => Ok(Box::new(options)),
        Err(e) => Err(OptionError {
            path: e.path().iter().map(|s| s.to_string()).collect(),
            says: e.inner().to_string(),
        }),
    }
}

/// One shape, for a port that carries it.
pub fn shapes<const N: usize>(of: [(&'static str, crate::node::port::Shape); N]) -> Shapes {
    of.into_iter()
        .map(|(port, shape)| (port, vec![shape]))
        .collect::<HashMap<_, _>>()
}
