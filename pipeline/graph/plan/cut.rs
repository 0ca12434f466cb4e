//! The cut: edges within and between stages, and the order in which a stage's nodes run.
use super::Edge;
use crate::graph::edges::{EdgeGraph, PlannedEdge};
use petgraph::Incoming;
use petgraph::graph::{EdgeReference, NodeIndex};
use petgraph::visit::EdgeRef;

/// Sorted by the node they go to, then as written.
pub fn edges(edge_graph: &EdgeGraph, stage_of: &[usize]) -> Vec<Edge> {
    let edge = |e: EdgeReference<'_, PlannedEdge>| {
        let (from, to, edge) = (e.source().index(), e.target().index(), *e.weight());
        let within = stage_of[from] == stage_of[to];
        Edge {
            from,
            out: edge.from,
            to,
            port: edge.to,
            on_tape: edge.on_tape,
            tensors: edge.tensors,
            within,
        }
    };
    (0..stage_of.len())
        .flat_map(|node| incoming(edge_graph, node))
        .map(edge)
        .collect()
}

/// Stages in the order of their first node, that of the source first. The optimizer comes last in its stage if nothing
/// there waits for it: so it reaches the parameters of all others.
pub fn stages(
    order: &[usize],
    stage_of: &[usize],
    source: usize,
    optimizer: Option<usize>,
    edges: &[Edge],
) -> Vec<Vec<usize>> {
    let mut labels = vec![stage_of[source]];
    order
        .iter()
        .for_each(|n| labels.extend((!labels.contains(&stage_of[*n])).then_some(stage_of[*n])));
    let members = |label: usize| order.iter().copied().filter(move |n| stage_of[*n] == label);
    let mut stages: Vec<Vec<usize>> = labels.iter().map(|l| members(*l).collect()).collect();
    let free = optimizer.filter(|o| !edges.iter().any(|e| e.from == *o && e.within));
    for stage in &mut stages {
        stage.sort_by_key(|n| free == Some(*n));
    }
    stages
}

/// The edges into a node, in the order in which they are written.
pub fn incoming(edge_graph: &EdgeGraph, node: usize) -> Vec<EdgeReference<'_, PlannedEdge>> {
    let mut edges: Vec<_> = edge_graph
        .edges_directed(NodeIndex::new(node), Incoming)
        .collect();
    edges.sort_by_key(|e| e.id());
    edges
}
