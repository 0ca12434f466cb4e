//! What nodes say of themselves, in the order in which they feed each other, and what a phase leaves to those after it.
use super::cut::incoming;
use crate::graph::json::{Json, Kind};
use crate::graph::problem::Problems;
use crate::graph::spec;
use crate::graph::wires::Wires;
use nodes::node::port::Shapes;
use nodes::node::{Facts, World};
use petgraph::visit::EdgeRef;
use std::collections::{BTreeSet, HashMap};

/// What earlier phases leave, and the nodes (`phase/node`) of which that is not known because of a problem.
#[derive(Default)]
pub struct Past {
    pub world: World,
    unknown: BTreeSet<String>,
}

impl Past {
    /// What each node says of itself, given what comes in; None where a problem hides it.
    pub fn facts(
        &self,
        phase: &spec::Phase,
        wires: &Wires,
        order: &[usize],
        problems: &mut Problems,
    ) -> Vec<Option<Facts>> {
        let mut facts: Vec<Option<Facts>> = phase.nodes.iter().map(|_| None).collect();
        for &i in order {
            let spec = &phase.nodes[i];
            let Some(config) = spec
                .config
                .as_ref()
                .filter(|_| !spec.broken && !reads_unknown(&spec.json, &self.unknown))
            else {
                continue;
            };
            match config.facts(&self.world, &shapes(i, wires, &facts)) {
                Ok(found) => facts[i] = Some(found),
                Err(wrongs) => wrongs.iter().for_each(|wrong| {
                    problems.add(
                        &spec.json.place(&wrong.path),
                        format!("node `{}`: {}", spec.name, wrong.says),
                    );
                }),
            }
        }
        facts
    }

    /// Tells later phases what this one leaves.
    pub fn leave(&mut self, phase: &spec::Phase, facts: &[Option<Facts>]) {
        for (spec, facts) in phase.nodes.iter().zip(facts) {
            let key = format!("{}/{}", phase.name, spec.name);
            let Some(facts) = facts else {
                self.unknown.insert(key);
                continue;
            };
            if let Some(model) = &facts.leaves {
                self.world.models.insert(key.clone(), model.clone());
            }
            if let Some(heads) = &facts.leaves_heads {
                self.world.heads.insert(key.clone(), heads.clone());
            }
            if let Some(clusters) = facts.leaves_clusters {
                self.world.clusters.insert(key.clone(), clusters);
            }
            if let Some(classes) = facts.leaves_labels {
                self.world.labels.insert(key, classes);
            }
        }
    }
}

/// The shapes that reach a node; a port of which one edge's shape is not known is left out.
pub fn shapes(node: usize, wires: &Wires, facts: &[Option<Facts>]) -> Shapes {
    let mut known: HashMap<&'static str, Option<Vec<_>>> = HashMap::new();
    for edge in incoming(wires, node) {
        let (from, wire) = (edge.source().index(), edge.weight());
        let shape = facts[from]
            .as_ref()
            .and_then(|f| f.outputs.get(wire.from)?.first());
        let all = known.entry(wire.to).or_insert(Some(vec![]));
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
