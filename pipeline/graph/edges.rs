//! The edges of a phase, between ports that exist and carry the same.
use crate::graph::problem::Problems;
use crate::graph::spec::{InputSpec, NodeSpec, PhaseSpec};
use compute::tensor::ON_GPU;
use nodes::data::suggestion::suggestion;
use nodes::node::port::{Carries, Port};
use petgraph::Incoming;
use petgraph::graph::{DiGraph, EdgeReference, NodeIndex};
use petgraph::visit::EdgeRef;

/// The nodes of a phase, by their index in it, and the edges between them.
pub(super) type EdgeGraph = DiGraph<(), Connection>;

/// The ports that an edge connects, and what travels between them.
#[derive(Clone, Copy)]
pub(super) struct Connection {
    pub(super) output: &'static str,
    pub(super) input: &'static str,
    /// Whether the values are on the tape.
    pub(super) on_tape: bool,
    /// Whether the values may stay on the GPU between nodes of one stage.
    pub(super) tensors: bool,
}

/// Connects the nodes of a phase. Inputs that cannot be connected are problems, unless the node
/// that feeds them is broken itself.
pub(super) fn connect(phase: &PhaseSpec, problems: &mut Problems) -> EdgeGraph {
    let mut edge_graph = EdgeGraph::new();
    for _ in &phase.nodes {
        edge_graph.add_node(());
    }
    for (reader, node) in phase.nodes.iter().enumerate() {
        for (i, input) in node.inputs.iter().enumerate() {
            match connect_input(phase, node, &node.inputs[..i], input) {
                Ok(Some((source, connection))) => {
                    let source = NodeIndex::new(source);
                    edge_graph.add_edge(source, NodeIndex::new(reader), connection);
                }
                Ok(None) => {}
                Err(message) => problems.add_for_node(&node.name, &input.location, message),
            }
        }
        check_inputs_are_fed(node, problems);
    }
    edge_graph
}

/// Returns the index of the node that feeds an input of `reader`, and the connection; `None` if a
/// problem of either node prevents it. `earlier` are the inputs written before this one.
///
/// # Errors
/// Why the two cannot be connected.
fn connect_input(
    phase: &PhaseSpec,
    reader: &NodeSpec,
    earlier: &[InputSpec],
    input: &InputSpec,
) -> Result<Option<(usize, Connection)>, String> {
    let name = &input.port;
    let written = input.source();
    let Some(source) = phase.nodes.iter().position(|n| n.name == input.node) else {
        let names = phase.nodes.iter().map(|node| node.name.as_str());
        let suggestion = suggestion(&input.node, names);
        return Err(format!(
            "input `{name}` names `{written}`, which no node sends{suggestion}"
        ));
    };
    let source_node = &phase.nodes[source];
    let Some(reader_kind) = reader.known_kind else {
        return Ok(None);
    };
    let Some(source_kind) = source_node.known_kind else {
        return Ok(None);
    };

    let same_port: Vec<&InputSpec> = earlier.iter().filter(|e| e.port == *name).collect();
    if same_port.iter().any(|e| e.source() == written) {
        return Err(format!("input `{name}` names `{written}` twice"));
    }
    let input_ports = reader_kind.ports.inputs;
    let Some(input_port) = find(input_ports, name) else {
        let suggestion = suggestion(name, names(input_ports));
        return Err(format!("has no input `{name}`{suggestion}"));
    };
    if !same_port.is_empty() && !input_port.many {
        return Err(format!("input `{name}` takes one edge"));
    }

    let unless_source_is_broken = |message| match source_node.broken {
        true => Ok(None),
        false => Err(message),
    };
    let output_ports = source_kind.ports.outputs;
    let Some(output_port) = find(output_ports, &input.output) else {
        let suggestion = suggestion(&input.output, names(output_ports));
        return unless_source_is_broken(format!(
            "input `{name}` names `{written}`, which no node sends{suggestion}"
        ));
    };
    if !accepts(input_port.carries, output_port.carries) {
        return unless_source_is_broken(format!(
            "input `{name}` wants {}, but `{written}` carries {}",
            describe(input_port.carries),
            describe(output_port.carries)
        ));
    }
    let connection = Connection {
        output: output_port.name,
        input: input_port.name,
        on_tape: output_port.carries.on_tape(),
        tensors: ON_GPU && output_port.tensors && input_port.tensors,
    };
    Ok(Some((source, connection)))
}

fn find(ports: &'static [Port], name: &str) -> Option<&'static Port> {
    ports.iter().find(|port| port.name == name)
}

fn names(ports: &'static [Port]) -> impl Iterator<Item = &'static str> {
    ports.iter().map(|port| port.name)
}

/// Returns whether an input can read what an output sends: the same, or rows with more columns.
fn accepts(input: Carries, output: Carries) -> bool {
    match (input, output) {
        (Carries::Batch(wanted), Carries::Batch(sent)) => wanted.iter().all(|c| sent.contains(c)),
        _ => input == output,
    }
}

/// Checks that every required input is written, whether or not it can be connected.
fn check_inputs_are_fed(node: &NodeSpec, problems: &mut Problems) {
    let Some(kind) = node.known_kind else {
        return;
    };
    let written = node.json.get("inputs");
    for port in kind.ports.inputs {
        let fed = written.is_some_and(|inputs| inputs.get(port.name).is_some());
        if !port.optional && !fed {
            let message = format!("nothing feeds input `{}`", port.name);
            problems.add_for_node(&node.name, &node.location, message);
        }
    }
}

/// Describes in words what an edge carries.
pub fn describe(carries: Carries) -> String {
    match carries {
        Carries::Batch(columns) => {
            let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
            format!("columns {}", names.join(", "))
        }
        Carries::Hiddens => "hiddens".into(),
        Carries::Maps => "attention maps".into(),
        Carries::Gates => "gates".into(),
        Carries::Scalar => "a loss".into(),
    }
}

/// Returns the edges that lead to a node, in the order in which they are written.
pub(super) fn incoming(edge_graph: &EdgeGraph, node: usize) -> Vec<EdgeReference<'_, Connection>> {
    let mut edges: Vec<_> = edge_graph
        .edges_directed(NodeIndex::new(node), Incoming)
        .collect();
    edges.sort_by_key(|edge| edge.id());
    edges
}
