//! Removes what killed processes left in a run's folder while they wrote it.
use crate::graph::plan::Plan;
use nodes::data::file::{remove_leftover_folders, remove_leftovers};
use nodes::kind::optimize::checkpoint;
use nodes::model;
use std::path::Path;

/// Files of a run's folder that are written under temporary names.
const OF_RUN: [&str; 4] = ["run.json", "metrics.jsonl", "loss.svg", "report.html"];
/// What the names of TensorBoard's files begin with.
const EVENTS: &str = "events.out.tfevents.";
/// Files that nodes write into their own folders, besides models, which are written as folders.
const OF_NODES: [&str; 6] = [
    "centroids.safetensors",
    "cmvn.safetensors",
    "heads.safetensors",
    "labels.km",
    "labels.parquet",
    "logits.safetensors",
];

/// Removes unfinished files and folders of dead processes in the folder of a run of `plan`.
///
/// Only the folders that a run of the plan writes are searched, and none that holds a run of its
/// own. A writer that lives holds a lock.
pub(super) fn remove(run: &Path, plan: &Plan) {
    remove_leftovers(run, &|name| {
        OF_RUN.contains(&name) || name.starts_with(EVENTS)
    });
    let checkpoints = run.join("checkpoint");
    if !is_run(&checkpoints) {
        remove_leftovers(&checkpoints, &checkpoint::is_name);
    }
    for phase in &plan.phases {
        let folder = plan.folder(phase, run);
        if plan.phased && is_run(&folder) {
            continue;
        }
        let is_node = |name: &str| phase.nodes.iter().any(|node| node.name() == name);
        remove_leftover_folders(&folder, &is_node, &model::FILES);
        for node in &phase.nodes {
            let folder = folder.join(node.name());
            if !is_run(&folder) {
                remove_leftovers(&folder, &|name| OF_NODES.contains(&name));
            }
        }
    }
}

/// Whether a folder, or the folder that a link leads to, holds a run of its own.
fn is_run(folder: &Path) -> bool {
    [".lock", "run.json"]
        .iter()
        .any(|name| folder.join(name).exists())
}
