//! A graph as its file describes it, before edges and shapes are checked.
pub mod cache;
mod node;
mod set;

use crate::graph::json;
use crate::graph::json::{Content, Json};
use crate::graph::problem::{Location, Problems};
use cache::Budget;
use nodes::cache::codec::CodecOption;
use nodes::data::suggestion::option_hint;
use nodes::node::{Config, Kind};
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
            content: Content::Object(vec![]),
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

/// Reads a graph file and applies the arguments of `--set`.
///
/// Returns `None`, after adding problems, if the file has no list of nodes to read.
pub fn read(text: &str, set_arguments: &[String], problems: &mut Problems) -> Option<GraphSpec> {
    let mut file = json::parse(text, problems)?;
    if !file.is_object() {
        problems.add(&file.location, "a graph is an object");
        return None;
    }
    for argument in set_arguments {
        set::apply(&mut file, argument, problems);
    }
    let known_keys = ["$schema", "name", "about", "seed", "nodes", "phases"];
    check_keys(&file, &known_keys, problems);
    for key in ["$schema", "about"] {
        if file.get(key).is_some_and(|value| value.text().is_none()) {
            problems.add(file.location_of(&[key]), format!("`{key}` is text"));
        }
    }
    let name = read_name(&file, "a graph", problems);
    let seed = read_seed(&file, problems);
    let phases = read_phases(&file, problems)?;
    let phased = file.get("phases").is_some();
    if phased {
        check_phase_names(&phases, problems);
    } else {
        for node in &phases[0].nodes {
            check_not_checkpoint("node", &node.name, &node.location, problems);
        }
    }
    Some(GraphSpec {
        name,
        seed,
        phased,
        phases,
        resolved: file.to_value(),
    })
}

fn read_seed(file: &Json, problems: &mut Problems) -> u64 {
    let Some(seed) = file.get("seed") else {
        return 0;
    };
    seed.to_value().as_u64().unwrap_or_else(|| {
        problems.add(
            file.location_of(&["seed"]),
            "`seed` is a whole number from 0",
        );
        0
    })
}

fn read_phases(file: &Json, problems: &mut Problems) -> Option<Vec<PhaseSpec>> {
    match (file.get("nodes"), file.get("phases")) {
        (Some(nodes), None) => {
            let location = file.location_of(&["nodes"]);
            Some(vec![read_nodes("main", location, nodes, problems)])
        }
        (None, Some(phases)) => match &phases.content {
            Content::Array(phases) if !phases.is_empty() => {
                Some(phases.iter().map(|p| read_phase(p, problems)).collect())
            }
            _ => {
                problems.add(
                    file.location_of(&["phases"]),
                    "`phases` is a list with at least one phase",
                );
                None
            }
        },
        _ => {
            problems.add(&file.location, "a graph has either `nodes` or `phases`");
            None
        }
    }
}

/// Reads an item of `phases`.
fn read_phase(json: &Json, problems: &mut Problems) -> PhaseSpec {
    if !json.is_object() {
        problems.add(
            &json.location,
            "a phase is an object with `name` and `nodes`",
        );
        return PhaseSpec {
            name: String::new(),
            location: json.location.clone(),
            nodes: vec![],
        };
    }
    check_keys(json, &["name", "nodes"], problems);
    let name = read_name(json, "a phase", problems);
    let location = &json.get("name").unwrap_or(json).location;
    match json.get("nodes") {
        Some(nodes) => read_nodes(&name, location, nodes, problems),
        None => {
            problems.add(&json.location, "a phase needs `nodes`");
            PhaseSpec {
                name,
                location: location.clone(),
                nodes: vec![],
            }
        }
    }
}

/// Reads the nodes of a phase with this name.
fn read_nodes(name: &str, location: &Location, nodes: &Json, problems: &mut Problems) -> PhaseSpec {
    if nodes.entries().is_empty() {
        problems.add(
            &nodes.location,
            "`nodes` is an object with at least one node",
        );
    }
    let nodes = nodes.entries().iter();
    PhaseSpec {
        name: name.into(),
        location: location.clone(),
        nodes: nodes.map(|entry| node::read(entry, problems)).collect(),
    }
}

/// Reads the name of a graph or phase; empty if it is no text.
fn read_name(json: &Json, what: &str, problems: &mut Problems) -> String {
    let Some(value) = json.get("name") else {
        problems.add(&json.location, format!("{what} needs a `name`"));
        return String::new();
    };
    let name = value.text().unwrap_or_default();
    check_name(name, &value.location, problems);
    name.to_owned()
}

/// Checks the form of a name of a graph, phase or node.
fn check_name(name: &str, location: &Location, problems: &mut Problems) {
    let is_alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let valid = name.len() <= 100
        && name.bytes().next().is_some_and(is_alphanumeric)
        && name
            .bytes()
            .all(|c| is_alphanumeric(c) || c == b'_' || c == b'-');
    if !valid {
        problems.add(
            location,
            "a name is made of a-z, 0-9, `_` and `-`, begins with a letter or a digit, and is at \
             most 100 long",
        );
    }
}

/// Checks that names of phases differ from each other, as they are folders of a run, and from
/// those of nodes, as both begin arguments of `--set`.
fn check_phase_names(phases: &[PhaseSpec], problems: &mut Problems) {
    for (i, phase) in phases.iter().enumerate() {
        let name = &phase.name;
        if !name.is_empty() && phases[..i].iter().any(|earlier| earlier.name == *name) {
            problems.add(&phase.location, format!("two phases are called `{name}`"));
        }
        check_not_checkpoint("phase", name, &phase.location, problems);
        let mut nodes = phases.iter().flat_map(|phase| &phase.nodes);
        if nodes.any(|node| node.name == *name) {
            problems.add(
                &phase.location,
                format!("a phase and a node are both called `{name}`"),
            );
        }
    }
}

/// Checks that the folder of a phase or node is not the run's folder of checkpoints.
fn check_not_checkpoint(what: &str, name: &str, location: &Location, problems: &mut Problems) {
    if name == "checkpoint" {
        problems.add(
            location,
            format!(
                "no {what} is called `checkpoint`: a run keeps its checkpoints in a folder of \
                 this name"
            ),
        );
    }
}

/// Checks that an object has no other keys.
fn check_keys(object: &Json, known: &[&str], problems: &mut Problems) {
    for entry in object.entries() {
        let key = entry.key.as_str();
        if !known.contains(&key) {
            let hint = option_hint(key, known.iter().copied());
            problems.add(&entry.key_location, format!("unknown key `{key}`{hint}"));
        }
    }
}
