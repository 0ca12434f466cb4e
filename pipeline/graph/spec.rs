//! A graph as its file describes it, before edges and shapes are checked.
pub mod cache;
mod names;
mod node;
mod read;
mod set;

use crate::graph::json::Json;
use crate::graph::problem::Location;
use cache::Budget;
use nodes::cache::codec::CodecOption;
use nodes::node::{Config, Kind};
pub use read::read;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A graph file after `--set`.
pub struct GraphSpec {
    pub name: String,
    pub seed: u64,
    /// Whether the file has `phases`: their names are then folders of a run.
    pub phased: bool,
    /// The phases; a single one, `main`, if the file has `nodes`.
    pub phases: Vec<PhaseSpec>,
    /// The whole file.
    pub resolved: Value,
}

/// A phase as written.
pub struct PhaseSpec {
    pub name: String,
    /// Where the name is written; without one, where the phase or its `nodes` are.
    pub location: Location,
    pub nodes: Vec<NodeSpec>,
}

/// A node as written.
pub struct NodeSpec {
    pub name: String,
    /// Where the name is written.
    pub location: Location,
    /// The name of its kind as written, which may be unknown.
    pub kind: String,
    pub known_kind: Option<&'static Kind>,
    /// Everything below the node's name, at the location of the name.
    pub(crate) json: Json,
    /// The options; `None` if they are wrong.
    pub config: Option<Arc<dyn Config>>,
    /// The options that are right, where others are wrong.
    pub(crate) partial_config: Option<Arc<dyn Config>>,
    /// Options that `partial_config` lacks.
    pub(crate) wrong_options: BTreeSet<String>,
    /// Whether reading this node found problems, so that its neighbours do not add theirs.
    pub broken: bool,
    pub cache: Option<String>,
    pub budget: Option<Budget>,
    pub codec: CodecOption,
    pub inputs: Vec<InputSpec>,
}

/// An edge as written below the node that it leads to: `"port": "node.output"`.
pub struct InputSpec {
    pub port: String,
    /// The node that feeds the port.
    pub node: String,
    /// The output port of that node.
    pub output: String,
    /// Where `node.output` is written.
    pub location: Location,
}

impl InputSpec {
    /// Returns `node.output` as written.
    pub fn source(&self) -> String {
        format!("{}.{}", self.node, self.output)
    }
}

#[cfg(test)]
impl NodeSpec {
    /// Returns a node without a kind, options and inputs.
    pub(crate) fn empty(name: &str, location: Location) -> NodeSpec {
        let json = Json {
            location: location.clone(),
            content: crate::graph::json::Content::Object(vec![]),
        };
        NodeSpec {
            name: name.into(),
            location,
            kind: String::new(),
            known_kind: None,
            json,
            config: None,
            partial_config: None,
            wrong_options: BTreeSet::new(),
            broken: false,
            cache: None,
            budget: None,
            codec: CodecOption::default(),
            inputs: vec![],
        }
    }
}
