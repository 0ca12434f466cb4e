//! What nodes say of themselves, in the order in which they feed each other, and what a phase leaves to those after it.
use super::cut::incoming;
use crate::graph::edges::EdgeGraph;
use crate::graph::json::{Json, Kind};
use crate::graph::problem::Problems;
use crate::graph::spec;
use nodes::node::port::Shapes;
use nodes::node::{NodeInfo, PhaseOutputs};
use petgraph::visit::EdgeRef;
use std::collections::{BTreeSet, HashMap};

/// What earlier phases leave, and the nodes (`phase/node`) of which that is not known because of a problem.
#[derive(Default)]
pub struct Past {
    pub phase_outputs: PhaseOutputs,
    unknown: BTreeSet<String>,
}

impl Past {
    /// What each node says of itself, given what comes in; None where a problem hides it.
    pub fn info(
        &self,
        phase: &spec::Phase,
        edge_graph: &EdgeGraph,
        order: &[usize],
        problems: &mut Problems,
    ) -> Vec<Option<NodeInfo>> {
        let mut info: Vec<Option<NodeInfo>> = phase.nodes.iter().map(|_| None).collect();
        for &i in order {
            let spec = &phase.nodes[i];
            let Some(config) = spec
                .config
                .as_ref()
                .filter(|_| !spec.broken && !reads_unknown(&spec.json, &self.unknown))
            else {
                continue;
            };
            match config.info(&self.phase_outputs, &shapes(i, edge_graph, &info)) {
                Ok(found) => info[i] = Some(found),
                Err(wrongs) => wrongs.iter().for_each(|wrong| {
                    problems.add(
                        &spec.json.place(&wrong.path),
                        format!("node `{}`: {}", spec.name, wrong.message),
                    );
                }),
            }
        }
        info
    }

    /// Tells later phases what this one leaves.
    pub fn leave(&mut self, phase: &spec::Phase, info: &[Option<NodeInfo>]) {
        for (spec, info) in phase.nodes.iter().zip(info) {
            let key = format!("{}/{}", phase.name, spec.name);
            let Some(info) = info else {
                self.unknown.insert(key);
                continue;
            };
            if let Some(artifact) = &info.writes {
                self.phase_outputs.0.insert(key, artifact.clone());
            }
        }
    }
}

/// The shapes that reach a node; a port of which one edge's shape is not known is left out.
pub fn shapes(node: usize, edge_graph: &EdgeGraph, info: &[Option<NodeInfo>]) -> Shapes {
    let mut known: HashMap<&'static str, Option<Vec<_>>> = HashMap::new();
    for edge in incoming(edge_graph, node) {
        let (from, edge) = (edge.source().index(), edge.weight());
        let shape = info[from]
            .as_ref()
            .and_then(|f| f.outputs.get(edge.from)?.first());
        let all = known.entry(edge.to).or_insert(Some(vec![]));
        *all = all.take().and_then(|mut all| {
            all.push(shape?.clone());
            Some(all)
        });
    }
    known
        .into_iter()
        .filter_map(|(port, shapes)| Some((port, shapes?)))
        .collect()
}

/// Whether some option names what a node with problems was to leave: `$OUT/phase/node`.
fn reads_unknown(json: &Json, unknown: &BTreeSet<String>) -> bool {
    match &json.kind {
        Kind::Leaf(_) => json
            .text()
            .and_then(|t| t.strip_prefix("$OUT/"))
            .is_some_and(|rest| {
                let key: Vec<&str> = rest.split('/').take(2).collect();
                unknown.contains(&key.join("/"))
            }),
        Kind::List(items) => items.iter().any(|i| reads_unknown(i, unknown)),
        Kind::Map(entries) => entries.iter().any(|(_, _, v)| reads_unknown(v, unknown)),
    }
}
