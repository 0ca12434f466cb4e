//! The size of a full cache, from the lengths in the manifests:
//! frames x width x 4 bytes x layers, summed over the outputs that nodes with the option `cache` store.
use nodes::data::mel;
use nodes::model::Architecture;
use nodes::node::PlannedRows;
use nodes::node::port::Shape;
use pipeline::graph::plan::{Phase, PlannedNode};
use pipeline::run::machine;
use std::collections::BTreeMap;
use std::path::Path;

/// Returns the bytes of all caches of a phase, whose source sends `rows`.
///
/// `None` if a manifest is missing or has no lengths, or if the source makes new views in every
/// epoch.
pub(crate) fn of_phase(phase: &Phase, rows: Option<&PlannedRows>) -> Option<u64> {
    let views = phase.source().settings().views;
    let rows = rows.filter(|_| views > 0)?;
    let mut total: u64 = 0;
    for node in 0..phase.nodes.len() {
        if let Some(bytes) = of_node(phase, node, views, rows) {
            total = total.saturating_add(bytes);
        }
    }
    Some(total)
}

/// Returns the bytes of the cache of one node, by its index; `None` if it has none.
pub(crate) fn of_node(phase: &Phase, node: usize, views: u64, rows: &PlannedRows) -> Option<u64> {
    let ports = stored_ports(phase, node)?;
    let planned = &phase.nodes[node];
    let bytes = ports
        .into_iter()
        .filter_map(|port| output_bytes(planned, port, views, rows));
    Some(bytes.fold(0, u64::saturating_add))
}

/// Returns the outputs of a node that its cache stores: those that are read, or the first; `None` if
/// it has no cache.
fn stored_ports(phase: &Phase, node: usize) -> Option<Vec<&'static str>> {
    let planned = &phase.nodes[node];
    planned.spec.cache.as_ref()?;
    let mut ports = planned.config.cacheable()?.ports().to_vec();
    let edges = phase.edges.iter().filter(|edge| edge.from == node);
    let read: Vec<&str> = edges.map(|edge| edge.out).collect();
    if read.is_empty() {
        ports.truncate(1);
    } else if read.iter().all(|port| ports.contains(port)) {
        ports.retain(|port| read.contains(port));
    } else {
        ports.clear(); // another output is read, so the cache is not used
    }
    Some(ports)
}

/// Returns the hours of speech of all rows: the train set once a view, and the dev set.
pub(crate) fn hours(phase: &Phase, rows: &PlannedRows) -> f64 {
    let views = phase.source().settings().views;
    let samples = total(views, rows, |samples| samples as u64);
    samples as f64 / 16000.0 / 3600.0
}

/// Returns the free bytes of the disks that the caches of a phase are on, by cache. A cache in the
/// run's folder is left out: where that will be is not known.
pub(crate) fn free_space(phase: &Phase) -> BTreeMap<&str, u64> {
    let mut free = BTreeMap::new();
    for node in &phase.nodes {
        let Some(root) = node.spec.cache.as_deref() else {
            continue;
        };
        // A cache that is not there yet is created in the nearest folder that is.
        let mut folders = Path::new(root).ancestors().map(|folder| {
            if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            }
        });
        if let Some(bytes) = folders.find_map(machine::disk)
            && !root.starts_with("$OUT/")
        {
            free.insert(root, bytes);
        }
    }
    free
}

fn output_bytes(node: &PlannedNode, port: &str, views: u64, rows: &PlannedRows) -> Option<u64> {
    let shape = node.info.outputs.get(port)?.first()?;
    let frames: u64;
    let numbers: usize; // of a frame
    match shape {
        Shape::Hiddens {
            layers,
            width,
            step,
            ..
        } => {
            let architecture = Architecture::default();
            let joined = if layers.contains(&0) { 1 } else { step.joined };
            let frames_of = |samples| match step.pooled {
                true => 1,
                false => architecture.frames(samples) / joined,
            };
            frames = total(views, rows, |samples| frames_of(samples) as u64);
            numbers = layers.len() * width;
        }
        Shape::Features { width } => {
            frames = total(views, rows, |samples| mel::frames(samples) as u64);
            numbers = *width;
        }
        _ => return None,
    }
    Some(frames.saturating_mul(4 * numbers as u64))
}

/// Sums a number of each row: over the training set once a view, and the dev set.
fn total(views: u64, rows: &PlannedRows, of_samples: impl Fn(usize) -> u64) -> u64 {
    let sum = |rows: &[u64]| -> u64 { rows.iter().map(|&row| of_samples(row as usize)).sum() };
    sum(&rows.train)
        .saturating_mul(views)
        .saturating_add(sum(&rows.dev))
}
