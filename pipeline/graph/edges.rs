//! The edges of a phase: that they exist and fit, that nothing waits in a circle, which nodes share a stage.
use crate::graph::problem::{Problems, quoted};
use crate::graph::spec::{Phase, Spec};
use compute::tensor::ON_GPU;
use nodes::data::suggestion::suggestion;
use nodes::node::port::{Carries, Port, Ports};
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, EdgeReference, NodeIndex};
use petgraph::unionfind::UnionFind;
use petgraph::visit::EdgeRef;
use std::collections::HashMap;

/// Nodes by their number in the phase.
pub type EdgeGraph = DiGraph<(), PlannedEdge>;

/// From an output port to an input port.
#[derive(Clone, Copy)]
pub struct PlannedEdge {
    pub from: &'static str,
    pub to: &'static str,
    pub on_tape: bool,
    /// What it carries may stay on the GPU where both ends stand in one stage.
    pub tensors: bool,
}

/// All edges that exist and fit; the others are problems, unless the node that feeds them has problems of its own.
pub fn connect(phase: &Phase, problems: &mut Problems) -> EdgeGraph {
    let ports: Vec<Option<&Ports>> = phase
        .nodes
        .iter()
        .map(|s| s.known_kind.map(|kind| &kind.ports))
        .collect();
    let index: HashMap<&str, usize> = phase
        .nodes
        .iter()
        .enumerate()
        .map(|(i, s)| (s.name.as_str(), i))
        .collect();
    let names = || phase.nodes.iter().map(|s| s.name.as_str());
    let mut edge_graph = EdgeGraph::new();
    (0..ports.len()).for_each(|_| {
        edge_graph.add_node(());
    });
    for (to, spec) in phase.nodes.iter().enumerate() {
        for (i, input) in spec.inputs.iter().enumerate() {
            let mut wrong =
                |says: String| problems.add(&input.at, format!("node `{}`: {says}", spec.name));
            let (node, out) = input.from.split_once('.').unwrap_or((&input.from, ""));
            let Some(&source) = index.get(node) else {
                wrong(format!(
                    "input `{}` names `{}`, which no node sends{}",
                    input.port,
                    input.from,
                    suggestion(node, names())
                ));
                continue;
            };
            let (Some(here), Some(there)) = (&ports[to], &ports[source]) else {
                continue;
            };
            let before = || {
                spec.inputs[..i]
                    .iter()
                    .filter(|other| other.port == input.port)
            };
            if before().any(|other| other.from == input.from) {
                wrong(format!(
                    "input `{}` names `{}` twice",
                    input.port, input.from
                ));
                continue;
            }
            let again = before().next().is_some();
            match fit(here, there, &input.port, &input.from, out, again) {
                Ok(edge) => {
                    let _ = edge_graph.add_edge(NodeIndex::new(source), NodeIndex::new(to), edge);
                }
                Err(says) if says.about_source && phase.nodes[source].broken => {}
                Err(says) => wrong(says.text),
            }
        }
        unfed(spec, ports[to], problems);
    }
    edge_graph
}

fn unfed(spec: &Spec, ports: Option<&Ports>, problems: &mut Problems) {
    let given = spec.json.get("inputs").map_or(&[][..], |i| i.entries());
    for port in ports.into_iter().flat_map(|p| p.inputs) {
        if !port.optional && !given.iter().any(|(name, ..)| name == port.name) {
            problems.add(
                &spec.at,
                format!("node `{}`: nothing feeds input `{}`", spec.name, port.name),
            );
        }
    }
}

/// Why an edge cannot be, and whether that may be the fault of the node it comes from.
struct Misfit {
    text: String,
    about_source: bool,
}

/// The edge from port `out` of one node to `port` of another.
fn fit(
    to: &Ports,
    from: &Ports,
    port: &str,
    way: &str,
    out: &str,
    again: bool,
) -> Result<PlannedEdge, Misfit> {
    let here = |text| Misfit {
        text,
        about_source: false,
    };
    let there = |text| Misfit {
        text,
        about_source: true,
    };
    let names = |ports: &'static [Port]| ports.iter().map(|p| p.name);
    let input = to.inputs.iter().find(|p| p.name == port);
    let input = input.ok_or_else(|| {
        here(format!(
            "has no input `{port}`{}",
            suggestion(port, names(to.inputs))
        ))
    })?;
    if again && !input.many {
        return Err(here(format!("input `{port}` takes one edge")));
    }
    let output = from.outputs.iter().find(|p| p.name == out).ok_or_else(|| {
        there(format!(
            "input `{port}` names `{way}`, which no node sends{}",
            suggestion(out, names(from.outputs))
        ))
    })?;
    let fits = match (input.carries, output.carries) {
        (Carries::Batch(wants), Carries::Batch(has)) => wants.iter().all(|w| has.contains(w)),
        (wants, has) => wants == has,
    };
    if !fits {
        let (wants, has) = (what(input.carries), what(output.carries));
        return Err(there(format!(
            "input `{port}` wants {wants}, but `{way}` carries {has}"
        )));
    }
    let tensors = ON_GPU && output.tensors && input.tensors;
    Ok(PlannedEdge {
        from: output.name,
        to: input.name,
        on_tape: output.carries.on_tape(),
        tensors,
    })
}

/// What an edge carries, in words.
pub fn what(carries: Carries) -> String {
    match carries {
        Carries::Batch(columns) => format!(
            "columns {}",
            columns
                .iter()
                .map(|c| c.name)
                .collect::<Vec<_>>()
                .join(", ")
        ),
        Carries::Hiddens => "hiddens".into(),
        Carries::Gates => "gates".into(),
        Carries::Scalar => "a loss".into(),
    }
}

/// The nodes in an order in which each comes after those that feed it; nodes in a circle are problems, and left out.
pub fn order(edge_graph: &EdgeGraph, phase: &Phase, problems: &mut Problems) -> Vec<usize> {
    let mut order = vec![];
    for cycle in tarjan_scc(edge_graph).into_iter().rev() {
        if let [node] = cycle[..]
            && !edge_graph.contains_edge(node, node)
        {
            order.push(node.index());
            continue;
        }
        let mut nodes: Vec<&Spec> = cycle.iter().map(|n| &phase.nodes[n.index()]).collect();
        nodes.sort_by_key(|spec| phase.nodes.iter().position(|s| s.name == spec.name));
        let names = quoted(nodes.iter().map(|s| s.name.as_str()));
        let says = if nodes.len() > 1 {
            format!("nodes {names} wait for each other")
        } else {
            format!("node {names} waits for itself")
        };
        problems.add(&nodes[0].at, says);
    }
    order
}

/// The stage of each node: nodes joined by tape edges stand in one. A node behind no cache, all of whose edges carry tensors
/// into one stage, joins it: what it computes on a GPU stays there.
pub fn stages(edge_graph: &EdgeGraph, phase: &Phase) -> Vec<usize> {
    let mut sets = UnionFind::new(edge_graph.node_count());
    for edge in edge_graph.edge_references().filter(|e| e.weight().on_tape) {
        sets.union(edge.source().index(), edge.target().index());
    }
    for node in edge_graph
        .node_indices()
        .filter(|n| phase.nodes[n.index()].cache.is_none())
    {
        let Some(reader) = edge_graph.neighbors(node).next().map(|n| n.index()) else {
            continue;
        };
        let stays = |e: EdgeReference<'_, PlannedEdge>| {
            e.weight().tensors && sets.equiv(e.target().index(), reader)
        };
        if edge_graph.edges(node).all(stays) {
            sets.union(node.index(), reader);
        }
    }
    sets.into_labeling()
}

/// A stage whose output comes back to it through another stage would wait forever.
pub fn waiting_stages(
    edge_graph: &EdgeGraph,
    stage_of: &[usize],
    phase: &Phase,
    problems: &mut Problems,
) {
    let mut stages: DiGraph<(), ()> = DiGraph::new();
    (0..stage_of.len()).for_each(|_| {
        stages.add_node(());
    });
    for edge in edge_graph.edge_references() {
        let [from, to] = [edge.source(), edge.target()].map(|n| stage_of[n.index()]);
        if from != to {
            stages.update_edge(NodeIndex::new(from), NodeIndex::new(to), ());
        }
    }
    for circle in tarjan_scc(&stages).into_iter().filter(|c| c.len() > 1) {
        let inside = |node: &usize| circle.contains(&NodeIndex::new(stage_of[*node]));
        let nodes: Vec<&Spec> = (0..phase.nodes.len())
            .filter(inside)
            .map(|n| &phase.nodes[n])
            .collect();
        let names = quoted(nodes.iter().map(|s| s.name.as_str()));
        problems.add(
            &nodes[0].at,
            format!("the stages of nodes {names} wait for each other"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::json::{Json, Kind};
    use crate::graph::problem::At;

    const TAPE: PlannedEdge = PlannedEdge {
        from: "out",
        to: "in",
        on_tape: true,
        tensors: false,
    };
    const BATCH: PlannedEdge = PlannedEdge {
        on_tape: false,
        ..TAPE
    };
    const TENSORS: PlannedEdge = PlannedEdge {
        tensors: true,
        ..BATCH
    };

    /// A phase of nodes `a`, `b`, ... at the bytes 0, 1, ..., and edge_graph between them.
    fn phase(nodes: usize, edges: &[(usize, usize, PlannedEdge)]) -> (Phase, EdgeGraph) {
        let spec = |i: usize| Spec {
            name: char::from(b'a' + i as u8).into(),
            at: At::Byte(i),
            kind: String::new(),
            known_kind: None,
            json: Json {
                at: At::Byte(i),
                kind: Kind::Map(vec![]),
            },
            config: None,
            broken: false,
            cache: None,
            inputs: vec![],
        };
        let mut edge_graph = EdgeGraph::new();
        (0..nodes).for_each(|_| {
            edge_graph.add_node(());
        });
        for (from, to, edge) in edges {
            edge_graph.add_edge(NodeIndex::new(*from), NodeIndex::new(*to), *edge);
        }
        (
            Phase {
                name: "main".into(),
                at: At::Byte(0),
                nodes: (0..nodes).map(spec).collect(),
            },
            edge_graph,
        )
    }

    fn said(problems: Problems) -> Vec<String> {
        problems.0.into_iter().map(|p| p.says).collect()
    }

    #[test]
    fn nodes_in_a_circle_are_named_and_left_out() {
        let (phase, edge_graph) = phase(
            5,
            &[
                (0, 1, BATCH),
                (1, 2, TAPE),
                (2, 1, TAPE),
                (2, 3, TAPE),
                (4, 4, TAPE),
            ],
        );
        let mut problems = Problems::default();
        let mut order = order(&edge_graph, &phase, &mut problems);
        order.sort();
        assert_eq!(order, [0, 3]);
        let mut said = said(problems);
        said.sort();
        assert_eq!(
            said,
            [
                "node `e` waits for itself",
                "nodes `b`, `c` wait for each other"
            ]
        );
    }

    #[test]
    fn a_stage_does_not_wait_for_its_own_output() {
        let edges = [(0, 1, TAPE), (0, 2, BATCH), (2, 1, BATCH), (3, 0, BATCH)];
        let (phase, edge_graph) = phase(4, &edges);
        let stage_of = stages(&edge_graph, &phase);
        assert!(
            stage_of[0] == stage_of[1] && stage_of[0] != stage_of[2] && stage_of[2] != stage_of[3]
        );
        let mut problems = Problems::default();
        assert_eq!(order(&edge_graph, &phase, &mut problems), [3, 0, 2, 1]);
        waiting_stages(&edge_graph, &stage_of, &phase, &mut problems);
        assert_eq!(
            said(problems),
            ["the stages of nodes `a`, `b`, `c` wait for each other"]
        );
    }

    /// A teacher `a`, and losses `b` in one stage with `c`, and `d` in another.
    #[test]
    fn what_computes_targets_stands_where_they_are_read() {
        let joins = |readers: &[(usize, PlannedEdge)], cache: Option<&str>| {
            let edges = readers
                .iter()
                .map(|(to, edge)| (0, *to, *edge))
                .chain([(1, 2, TAPE)]);
            let (mut phase, edge_graph) = phase(4, &edges.collect::<Vec<_>>());
            phase.nodes[0].cache = cache.map(str::to_owned);
            let stage_of = stages(&edge_graph, &phase);
            stage_of[0] == stage_of[1]
        };
        assert!(joins(&[(1, TENSORS)], None) && joins(&[(1, TENSORS), (2, TENSORS)], None));
        assert!(
            !joins(&[(1, TENSORS)], Some("cache"))
                && !joins(&[(1, BATCH)], None)
                && !joins(&[], None)
        );
        assert!(
            !joins(&[(1, TENSORS), (2, BATCH)], None)
                && !joins(&[(1, TENSORS), (3, TENSORS)], None)
        );
    }
}
