//! What the plan learns from the nodes: the shapes that they send, their sizes and their files.
use crate::graph::edges::{EdgeGraph, incoming};
use crate::graph::json::{Content, Json};
use crate::graph::problem::Problems;
use crate::graph::spec::{InputSpec, NodeSpec, PhaseSpec};
use nodes::node::contents::Contents;
use nodes::node::port::Shapes;
use nodes::node::{NodeInfo, OptionError, PhaseOutputs};
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;
use std::collections::BTreeSet;

/// What the phases planned so far will write.
#[derive(Default)]
pub(super) struct EarlierPhases {
    pub(super) outputs: PhaseOutputs,
    /// Nodes, as `phase/node`, whose output is unknown because of a problem.
    unknown: BTreeSet<String>,
}

impl EarlierPhases {
    /// Asks each node of a phase what it computes, in topological order; `None` for nodes with
    /// problems, and those on a cycle or after nodes with unknown output.
    pub(super) fn node_info(
        &self,
        phase: &PhaseSpec,
        edge_graph: &EdgeGraph,
        order: &[usize],
        problems: &mut Problems,
    ) -> Vec<Option<NodeInfo>> {
        let mut info: Vec<Option<NodeInfo>> = phase.nodes.iter().map(|_| None).collect();
        for &index in order {
            let node = &phase.nodes[index];
            if self.reads_unknown(&node.json) {
                continue;
            }
            let mut inputs = input_shapes(index, edge_graph, &info);
            add_unconnected(node, &mut inputs);
            if node.broken {
                self.add_other_errors(node, &inputs, problems);
                continue;
            }
            let Some(config) = &node.config else {
                continue;
            };
            refuse_written_manifests(node, problems);
            match config.info(&self.outputs, &inputs) {
                Ok(mut node_info) => {
                    let out_edges = edge_graph.edges(NodeIndex::new(index));
                    let read = out_edges.map(|edge| edge.weight().output).collect();
                    self.check_codec(node, &read, &mut node_info, problems);
                    refuse_unavailable(phase, edge_graph, index, &node_info, problems);
                    info[index] = Some(node_info);
                }
                Err(errors) => {
                    for error in errors {
                        let location = node.json.location_of(&error.path);
                        problems.add_for_node(&node.name, location, &error.message);
                    }
                }
            }
        }
        info
    }

    /// Checks the codec of a node against what it sends on outputs and which of these are `read`,
    /// and adds its file to those that are read.
    fn check_codec(
        &self,
        node: &NodeSpec,
        read: &BTreeSet<&str>,
        info: &mut NodeInfo,
        problems: &mut Problems,
    ) {
        if let Err(message) = node.codec.check(&self.outputs, &info.outputs, read) {
            let location = node.json.location_of(&["codec"]);
            problems.add_for_node(&node.name, location, message);
        }
        info.reads.extend(node.codec.file().map(str::to_owned));
    }

    /// Adds what is wrong with the values of options of a node of which other options are wrong,
    /// so that all wrong options of a node are told at once. What is wrong with the node as a whole,
    /// such as a missing option, may come from those others.
    fn add_other_errors(&self, node: &NodeSpec, inputs: &Shapes, problems: &mut Problems) {
        let config = node.config.as_ref().or(node.partial_config.as_ref());
        let Some(Err(errors)) = config.map(|config| config.info(&self.outputs, inputs)) else {
            return;
        };
        let is_read = |option: &String| {
            let is_written = option != "inputs" && node.json.get(option).is_some();
            is_written && !node.wrong_options.contains(option)
        };
        for error in errors {
            if error.path.first().is_some_and(is_read) {
                let location = node.json.location_of(&error.path);
                problems.add_for_node(&node.name, location, &error.message);
            }
        }
    }

    /// Adds what the nodes of a phase will write: heads only where they train, since there alone their
    /// files are written.
    pub(super) fn add(&mut self, phase: &PhaseSpec, trains: bool, info: &[Option<NodeInfo>]) {
        for (node, info) in phase.nodes.iter().zip(info) {
            let key = format!("{}/{}", phase.name, node.name);
            let Some(info) = info else {
                self.unknown.insert(key);
                continue;
            };
            if let Some(artifact) = &info.writes
                && (trains || !artifact.is_head())
            {
                self.outputs.0.insert(key, artifact.clone());
            }
        }
    }

    /// Returns whether an option is a path `$OUT/phase/node` of a node whose output is unknown.
    fn reads_unknown(&self, json: &Json) -> bool {
        match &json.content {
            Content::Leaf(value) => {
                let path = value.as_str().and_then(|text| text.strip_prefix("$OUT/"));
                path.is_some_and(|path| {
                    let key: Vec<&str> = path.split('/').take(2).collect();
                    self.unknown.contains(&key.join("/"))
                })
            }
            Content::Array(items) => items.iter().any(|item| self.reads_unknown(item)),
            Content::Object(entries) => entries.iter().any(|e| self.reads_unknown(&e.value)),
        }
    }
}

/// Adds a problem for each list of utterances that a node reads from the run's own folder, to which none
/// is written.
fn refuse_written_manifests(node: &NodeSpec, problems: &mut Problems) {
    let files = node.known_kind.map_or(&[][..], |kind| kind.files);
    for option in files
        .iter()
        .filter(|file| file.contents == Contents::Manifest)
    {
        let Some(Content::Leaf(value)) = node.json.get(option.name).map(|json| &json.content)
        else {
            continue;
        };
        if let Some(path) = value.as_str().filter(|path| path.starts_with("$OUT/")) {
            let message = format!("no node writes a list of utterances, so none is at `{path}`");
            let error = OptionError::option(option.name, message);
            let location = node.json.location_of(&error.path);
            problems.add_for_node(&node.name, location, &error.message);
        }
    }
}

/// Adds a problem for each node that reads an output on which nothing would come.
fn refuse_unavailable(
    phase: &PhaseSpec,
    edge_graph: &EdgeGraph,
    source: usize,
    info: &NodeInfo,
    problems: &mut Problems,
) {
    for (output, reason) in &info.unavailable {
        let written = format!("{}.{output}", phase.nodes[source].name);
        for edge in edge_graph.edges(NodeIndex::new(source)) {
            if edge.weight().output != *output {
                continue;
            }
            let reader = &phase.nodes[edge.target().index()];
            let read = |input: &&InputSpec| input.source() == written;
            for input in reader.inputs.iter().filter(read) {
                let port = &input.port;
                let message = format!("input `{port}` names `{written}`: {reason}");
                problems.add_for_node(&reader.name, &input.location, message);
            }
        }
    }
}

/// Adds ports that the file feeds, though a problem left them unconnected.
fn add_unconnected(node: &NodeSpec, inputs: &mut Shapes) {
    let ports = node.known_kind.map_or(&[][..], |kind| kind.ports.inputs);
    for input in &node.inputs {
        if let Some(port) = ports.iter().find(|port| port.name == input.port) {
            inputs.entry(port.name).or_default();
        }
    }
}

/// Returns the shapes that reach a node; none on ports of which any shape is unknown.
pub(super) fn input_shapes(
    node: usize,
    edge_graph: &EdgeGraph,
    info: &[Option<NodeInfo>],
) -> Shapes {
    let mut shapes = Shapes::new();
    let mut unknown = BTreeSet::new();
    for edge in incoming(edge_graph, node) {
        let connection = edge.weight();
        let source = info[edge.source().index()].as_ref();
        let sent = source.and_then(|source| source.outputs.get(connection.output)?.first());
        match sent {
            Some(shape) => {
                let port = shapes.entry(connection.input).or_default();
                port.push(shape.clone());
            }
            None => {
                unknown.insert(connection.input);
            }
        }
    }
    for port in unknown {
        shapes.insert(port, vec![]);
    }
    shapes
}
