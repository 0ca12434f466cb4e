//! The models of a run before and after their phases.
use super::bars::{LayerUnits, bars};
use super::written::written_models;
use crate::graph::plan::{Phase, Plan, PlannedNode};
use nodes::model::{Architecture, UnknownKeys, count, read_architecture};
use nodes::node::port::Shape;
use nodes::node::{folder_owner, path_in_run};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The size of a model.
#[derive(Clone, Copy, PartialEq, Serialize)]
pub struct ModelSize {
    pub parameters: u64,
    /// Multiply-accumulates, as SUPERB counts them.
    pub macs: u64,
}

impl ModelSize {
    /// Counts the parameters and the multiply-accumulates of a model.
    pub fn new(architecture: &Architecture) -> ModelSize {
        ModelSize {
            parameters: count::parameters(architecture),
            macs: count::macs(architecture),
        }
    }
}

/// A model before and after a phase.
pub(super) struct ModelChange {
    /// The name of the node that writes it.
    pub(super) name: String,
    /// `None` if an earlier phase decides it and has not ended.
    pub(super) before: Option<Architecture>,
    /// `None` until its phase ends.
    pub(super) after: Option<Architecture>,
    /// The size of the phase's first teacher.
    pub(super) teacher: Option<ModelSize>,
    /// Whether gates prune it.
    is_pruned: bool,
}

/// Returns, by phase, the models that the run's nodes write.
pub(super) fn read(plan: &Plan, run: &Path) -> Vec<Vec<ModelChange>> {
    let mut phases = vec![];
    let written = written_models(plan, run, |folder| {
        read_architecture(folder, UnknownKeys::Allow).ok()
    });
    for (phase, models) in plan.phases.iter().zip(written) {
        let written_teacher = written_teacher(plan, phase, run);
        let written_teacher =
            written_teacher.and_then(|folder| read_architecture(&folder, UnknownKeys::Allow).ok());
        let teacher = match written_teacher {
            Some(architecture) => Some(ModelSize::new(&architecture)),
            None => teacher(phase).and_then(planned_size),
        };
        let mut changes = vec![];
        for model in models {
            let node = model.node;
            let before = if node.info.estimated {
                model.earlier
            } else {
                planned_architecture(node)
            };
            changes.push(ModelChange {
                name: node.name().to_owned(),
                before,
                after: model.after,
                teacher,
                is_pruned: gated_architecture(node).is_some(),
            });
        }
        phases.push(changes);
    }
    phases
}

/// Returns the size of a node's model, if the plan knows it.
fn planned_size(node: &PlannedNode) -> Option<ModelSize> {
    Some(ModelSize {
        parameters: node.info.parameters?,
        macs: node.info.macs?,
    })
}

/// Returns the architecture that the plan knows: the one that is pruned, or else the one that is
/// trained and written.
fn planned_architecture(node: &PlannedNode) -> Option<Architecture> {
    if let Some(architecture) = gated_architecture(node) {
        return Some(architecture.clone());
    }
    let architecture = node.info.model()?;
    Some(architecture.clone())
}

/// Returns the first teacher of a phase.
pub(super) fn teacher(phase: &Phase) -> Option<&PlannedNode> {
    phase
        .nodes
        .iter()
        .find(|node| node.kind().name == "teacher")
}

/// Returns the folder of a phase's first teacher, if an earlier phase writes it; what it will be is only
/// estimated by the plan.
pub(super) fn written_teacher(plan: &Plan, phase: &Phase, run: &Path) -> Option<PathBuf> {
    let model = plan.written_nodes(phase)[teacher(phase)?.name()]["model"].as_str()?;
    folder_owner(model).map(|_| path_in_run(model, run))
}

/// Returns the architecture whose units have gates, if the node takes gates.
pub(super) fn gated_architecture(node: &PlannedNode) -> Option<&Architecture> {
    let mut shapes = node.inputs.values().flatten();
    shapes.find_map(|shape| match shape {
        Shape::Gates(pruning) => Some(&pruning.architecture),
        _ => None,
    })
}

impl ModelChange {
    /// Draws what is left of each layer; empty for a model without gates or before its phase ends.
    pub(super) fn bars(&self) -> Vec<String> {
        let (Some(before), Some(after)) = (&self.before, &self.after) else {
            return vec![];
        };
        if !self.is_pruned {
            return vec![];
        }
        let mut channels = vec![];
        for (&left, &before) in after.conv_dim.iter().zip(&before.conv_dim) {
            channels.push(LayerUnits { left, before });
        }
        let mut heads = vec![];
        let mut ffn_units = vec![];
        for layer in 0..before.num_hidden_layers {
            heads.push(LayerUnits {
                left: after.heads(layer),
                before: before.heads(layer),
            });
            ffn_units.push(LayerUnits {
                left: after.ffn(layer),
                before: before.ffn(layer),
            });
        }
        vec![
            bars("channels", "convolution", 2, &channels),
            bars("attention heads", "layer", 3, &heads),
            bars("feed-forward units", "layer", 4, &ffn_units),
        ]
    }
}
