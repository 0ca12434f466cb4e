//! The size of a full cache, from the lengths in the manifests:
//! frames x layers x the bytes of a frame by the codec (4 x width of f32), summed over the outputs
//! that nodes with the option `cache` store.
use super::{Phase, PlannedNode};
use nodes::data::audio::resample::audio_seconds;
use nodes::data::mel;
use nodes::model::Architecture;
use nodes::node::port::{Content, Shape, shape_of};
use nodes::node::{LengthCounts, PlannedRows};

/// Returns the bytes of all caches of a phase, whose source sends `rows`.
///
/// `None` if a manifest is missing or has no lengths, if codebooks are missing, or if the source makes
/// new views in every epoch.
pub fn of_phase(phase: &Phase, rows: Option<&PlannedRows>) -> Option<u64> {
    let views = phase.source().settings().views;
    let rows = rows.filter(|_| views > 0)?;
    let mut total: u64 = 0;
    for (index, node) in phase.nodes.iter().enumerate() {
        if node.spec.cache.is_some() {
            total = total.saturating_add(of_node(phase, index, views, rows)?);
        }
    }
    Some(total)
}

/// Returns the bytes of the cache of one node, by its index; `None` if it has none, or if the number
/// of codebooks is not known.
pub fn of_node(phase: &Phase, node: usize, views: u64, rows: &PlannedRows) -> Option<u64> {
    let ports = stored_ports(phase, node)?;
    let planned = &phase.nodes[node];
    let mut total: u64 = 0;
    for port in ports {
        total = total.saturating_add(output_bytes(planned, port, views, rows)?);
    }
    Some(total)
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

/// Returns the number of layers whose attention maps are read of a node with a cache, which does not
/// keep maps; `None` if none is read.
pub fn uncached_maps(phase: &Phase, node: usize) -> Option<usize> {
    let planned = &phase.nodes[node];
    planned.spec.cache.as_ref()?;
    let mut edges = phase.edges.iter().filter(|edge| edge.from == node);
    edges.find_map(|edge| match shape_of(&planned.info.outputs, edge.out) {
        Some(Shape::Maps { layers, .. }) => Some(layers.len()),
        _ => None,
    })
}

/// Returns the bytes that the maps of so many layers would take in f32: frames x frames numbers a row
/// and layer. `None` without the lengths of the rows, or if there are new views in every epoch.
pub fn of_maps(phase: &Phase, layers: usize, rows: Option<&PlannedRows>) -> Option<u64> {
    let views = phase.source().settings().views;
    let rows = rows.filter(|_| views > 0)?;
    let architecture = Architecture::default();
    let numbers = total(views, rows, |samples| {
        (architecture.frames(samples) as u64).saturating_pow(2)
    });
    Some(numbers.saturating_mul(4 * layers as u64))
}

/// Returns the hours of speech of all rows: the train set once a view, and the dev set.
pub fn hours(phase: &Phase, rows: &PlannedRows) -> f64 {
    let views = phase.source().settings().views;
    let samples = total(views, rows, |samples| samples as u64);
    audio_seconds(samples) / 3600.0
}

/// Returns the bytes of what a node sends on a port; `None` if the codec's are not known.
fn output_bytes(node: &PlannedNode, port: &str, views: u64, rows: &PlannedRows) -> Option<u64> {
    let frames: u64;
    let mut content = Content::Layers;
    let layers: u64;
    let width: u64;
    match shape_of(&node.info.outputs, port) {
        Some(Shape::Hiddens {
            layers: listed,
            width: values,
            step,
            content: of_port,
        }) => {
            content = *of_port;
            let architecture = Architecture::default();
            let joined = if listed.contains(&0) { 1 } else { step.joined };
            let frames_of = |samples| match step.pooled {
                true => 1,
                false => architecture.frames(samples) / joined,
            };
            frames = total(views, rows, |samples| frames_of(samples) as u64);
            layers = listed.len() as u64;
            width = *values as u64;
        }
        Some(Shape::Features { width: values }) => {
            frames = total(views, rows, |samples| mel::frames(samples) as u64);
            layers = 1;
            width = *values as u64;
        }
        _ => return Some(0),
    }
    let [of_frame, of_row] = node.spec.codec.bytes(content, width, node.books)?;
    let of_frames = frames.saturating_mul(of_frame);
    let of_rows = total(views, rows, |_| 1).saturating_mul(of_row);
    Some(of_frames.saturating_add(of_rows).saturating_mul(layers))
}

/// Sums a number of each row: over the training set once a view, and the dev set.
fn total(views: u64, rows: &PlannedRows, of_samples: impl Fn(usize) -> u64) -> u64 {
    let sum = |rows: &LengthCounts| rows.sum(|length| of_samples(length as usize));
    sum(&rows.train)
        .saturating_mul(views)
        .saturating_add(sum(&rows.dev))
}
