//! The models that a run wrote, beside what they were before their phase.
use super::bars::bars;
use crate::graph::plan::{Plan, PlannedNode};
use nodes::model::{Architecture, count, read_architecture};
use nodes::node::port::Shape;
use std::collections::BTreeMap;
use std::path::Path;

pub struct Trained {
    pub name: String,
    /// None where an earlier phase decides it and has not ended.
    pub before: Option<Architecture>,
    /// None until its phase ends.
    pub after: Option<Architecture>,
    /// It has gates.
    pruned: bool,
}

/// By phase, those of the nodes that write a model.
pub fn read(plan: &Plan, run: &Path) -> Vec<Vec<Trained>> {
    let mut written: BTreeMap<String, Architecture> = BTreeMap::new();
    let mut phases = vec![];
    for phase in &plan.phases {
        let folder = if plan.phased {
            run.join(&phase.name)
        } else {
            run.to_owned()
        };
        let mut models = vec![];
        for node in phase.nodes.iter().filter(|n| n.info.model().is_some()) {
            let name = node.name().to_owned();
            let before = if node.info.estimated {
                written.get(&name).cloned()
            } else {
                planned(node)
            };
            let after = read_architecture(&folder.join(&name)).ok();
            written.extend(after.clone().map(|a| (name.clone(), a)));
            models.push(Trained {
                before,
                after,
                pruned: gated(node).is_some(),
                name,
            });
        }
        phases.push(models);
    }
    phases
}

/// Parameters and multiply-accumulates.
pub fn counts(a: &Architecture) -> [u64; 2] {
    [count::parameters(a), count::macs(a)]
}

fn planned(node: &PlannedNode) -> Option<Architecture> {
    gated(node).cloned().or(node.info.model().cloned())
}

/// The shapes that a node's gates stand on.
fn gated(node: &PlannedNode) -> Option<&Architecture> {
    node.inputs
        .values()
        .flatten()
        .find_map(|shape| match shape {
            Shape::Gates(pruning) => Some(&pruning.architecture),
            _ => None,
        })
}

impl Trained {
    /// What is left of each layer, where gates decided it.
    pub fn bars(&self) -> Vec<String> {
        let Some((before, after)) = self
            .before
            .as_ref()
            .zip(self.after.as_ref())
            .filter(|_| self.pruned)
        else {
            return vec![];
        };
        let layers = 0..before.num_hidden_layers;
        let convolutions: Vec<_> = after
            .conv_dim
            .iter()
            .copied()
            .zip(before.conv_dim.iter().copied())
            .collect();
        let heads: Vec<_> = layers
            .clone()
            .map(|l| (after.heads(l), before.heads(l)))
            .collect();
        let ffn: Vec<_> = layers.map(|l| (after.ffn(l), before.ffn(l))).collect();
        vec![
            bars("channels", "convolution", 2, &convolutions),
            bars("attention heads", "layer", 3, &heads),
            bars("feed-forward units", "layer", 4, &ffn),
        ]
    }
}
