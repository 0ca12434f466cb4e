//! The order in which the nodes of a phase run, and the stages that they form: the nodes of one
//! stage run in one thread.
#[cfg(test)]
mod tests;

use crate::graph::edges::{Connection, EdgeGraph};
use crate::graph::problem::{Problems, quoted};
use crate::graph::spec::{NodeSpec, PhaseSpec};
use nodes::cache::codec::CodecOption;
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, EdgeReference, NodeIndex};
use petgraph::unionfind::UnionFind;
use petgraph::visit::EdgeRef;

/// Returns the nodes in topological order. Nodes on a cycle are problems, and are left out.
pub(super) fn topological_order(
    edge_graph: &EdgeGraph,
    phase: &PhaseSpec,
    problems: &mut Problems,
) -> Vec<usize> {
    let mut order = vec![];
    for component in tarjan_scc(edge_graph).into_iter().rev() {
        if let [node] = component[..]
            && !edge_graph.contains_edge(node, node)
        {
            order.push(node.index());
            continue;
        }
        let mut cycle: Vec<usize> = component.iter().map(|node| node.index()).collect();
        cycle.sort();
        let names = quoted(cycle.iter().map(|&n| phase.nodes[n].name.as_str()));
        let message = match cycle[..] {
            [_] => format!("node {names} waits for itself"),
            _ => format!("nodes {names} wait for each other"),
        };
        problems.add(&phase.nodes[cycle[0]].location, message);
    }
    order
}

/// Assigns each node the label of its stage: nodes that a tape edge joins share one.
///
/// A node without a cache and a codec also joins its readers if all its edges carry tensors into one stage:
/// what it computes on a GPU then stays there.
pub(super) fn assign(edge_graph: &EdgeGraph, phase: &PhaseSpec) -> Vec<usize> {
    let mut sets = UnionFind::new(edge_graph.node_count());
    for edge in edge_graph.edge_references() {
        if edge.weight().on_tape {
            sets.union(edge.source().index(), edge.target().index());
        }
    }
    for node in edge_graph.node_indices() {
        let spec = &phase.nodes[node.index()];
        if spec.cache.is_some() || spec.codec != CodecOption::F32 {
            continue;
        }
        let Some(reader) = edge_graph.neighbors(node).next() else {
            continue;
        };
        let stays_on_gpu = |edge: EdgeReference<'_, Connection>| {
            edge.weight().tensors && sets.equiv(edge.target().index(), reader.index())
        };
        if edge_graph.edges(node).all(stays_on_gpu) {
            sets.union(node.index(), reader.index());
        }
    }
    sets.into_labeling()
}

/// Reports cycles of stages: a stage whose output returns to it through another would wait forever.
pub(super) fn check_cycles(
    edge_graph: &EdgeGraph,
    stage_of: &[usize],
    phase: &PhaseSpec,
    problems: &mut Problems,
) {
    let mut stages: DiGraph<(), ()> = DiGraph::new();
    for _ in stage_of {
        stages.add_node(());
    }
    for edge in edge_graph.edge_references() {
        let from = stage_of[edge.source().index()];
        let to = stage_of[edge.target().index()];
        if from != to {
            stages.update_edge(NodeIndex::new(from), NodeIndex::new(to), ());
        }
    }
    for cycle in tarjan_scc(&stages) {
        if cycle.len() == 1 {
            continue;
        }
        let mut nodes: Vec<&NodeSpec> = vec![];
        for (node, stage) in phase.nodes.iter().zip(stage_of) {
            if cycle.contains(&NodeIndex::new(*stage)) {
                nodes.push(node);
            }
        }
        let names = quoted(nodes.iter().map(|node| node.name.as_str()));
        problems.add(
            &nodes[0].location,
            format!("the stages of nodes {names} wait for each other"),
        );
    }
}

/// Lists the nodes of each stage in the order in which they run.
///
/// The source's stage is the first. The others follow by the longest way to them, then in the order
/// of the file, so that stages of phases alike have equal numbers.
///
/// The optimizer runs last in its stage, after all nodes with parameters, unless a node of the
/// stage waits for it.
pub(super) fn list(
    edge_graph: &EdgeGraph,
    order: &[usize],
    stage_of: &[usize],
    source: usize,
    optimizer: Option<usize>,
) -> Vec<Vec<usize>> {
    let depths = depths(edge_graph, order, stage_of);
    let mut others: Vec<usize> = order.to_vec();
    others.sort_by_key(|&node| (depths[stage_of[node]], node));
    let mut labels = vec![stage_of[source]];
    for node in others {
        if !labels.contains(&stage_of[node]) {
            labels.push(stage_of[node]);
        }
    }
    let mut stages = vec![];
    for label in labels {
        let nodes = order.iter().copied();
        let mut stage: Vec<usize> = nodes.filter(|&node| stage_of[node] == label).collect();
        if let Some(optimizer) = optimizer.filter(|&node| stage_of[node] == label) {
            let mut readers = edge_graph.neighbors(NodeIndex::new(optimizer));
            if !readers.any(|reader| stage_of[reader.index()] == label) {
                stage.sort_by_key(|&node| node == optimizer);
            }
        }
        stages.push(stage);
    }
    stages
}

/// Returns, by label, how many edges between stages the longest way to a stage has.
fn depths(edge_graph: &EdgeGraph, order: &[usize], stage_of: &[usize]) -> Vec<usize> {
    let mut depths = vec![0; edge_graph.node_count()];
    // Each round follows one more edge; stages have no cycle.
    for _ in order {
        for edge in edge_graph.edge_references() {
            let from = stage_of[edge.source().index()];
            let to = stage_of[edge.target().index()];
            if from != to {
                depths[to] = depths[to].max(depths[from] + 1);
            }
        }
    }
    depths
}
