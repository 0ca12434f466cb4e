//! The size of a full cache, from the lengths in the manifests:
//! frames x width x 4 bytes x layers, summed over the nodes with the option `cache`.
use nodes::data::mel;
use nodes::model::Architecture;
use nodes::node::PlannedRows;
use nodes::node::port::Shape;
use pipeline::graph::plan::{Phase, PlannedNode};

/// Returns the bytes of all caches of a phase, whose source sends `rows`.
///
/// `None` if a manifest is missing or has no lengths, or if the source makes new views in every
/// epoch.
pub(crate) fn of_phase(phase: &Phase, rows: Option<&PlannedRows>) -> Option<u64> {
    let views = phase.source().settings().views;
    let rows = rows.filter(|_| views > 0)?;
    let mut total: u64 = 0;
    for node in &phase.nodes {
        if let Some(bytes) = of_node(node, views, rows) {
            total = total.saturating_add(bytes);
        }
    }
    Some(total)
}

/// Returns the bytes of the cache of one node; `None` if it has none.
pub(crate) fn of_node(node: &PlannedNode, views: u64, rows: &PlannedRows) -> Option<u64> {
    node.spec.cache.as_ref()?;
    let output = node.config.cacheable()?.output();
    let shape = node.info.outputs.get(output)?.first()?;
    let frames: u64;
    let numbers: usize; // of a frame
    match shape {
        Shape::Hiddens { layers, width, .. } => {
            let architecture = Architecture::default();
            frames = total_frames(views, rows, |samples| architecture.frames(samples));
            numbers = layers.len() * width;
        }
        Shape::Features { width } => {
            frames = total_frames(views, rows, mel::frames);
            numbers = *width;
        }
        _ => return None,
    }
    Some(frames.saturating_mul(4 * numbers as u64))
}

/// Returns the frames of all rows: the training set once a view, and the dev set.
fn total_frames(views: u64, rows: &PlannedRows, frames: impl Fn(usize) -> usize) -> u64 {
    let sum = |rows: &[u64]| -> u64 {
        rows.iter()
            .map(|&samples| frames(samples as usize) as u64)
            .sum()
    };
    sum(&rows.train)
        .saturating_mul(views)
        .saturating_add(sum(&rows.dev))
}
