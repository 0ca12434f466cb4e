//! The layout of a phase: where stages, nodes and edges go.
//!
//! Each stage is laid out by itself, then the stages are. An edge therefore passes beside every
//! stage that it does not belong to.
use super::bands::PlacedStages;
use super::shape::{EdgePath, Rect, Segment};
use crate::graph::plan::Phase;
use std::collections::BTreeMap;

/// Largest space between the ends of two edges on one side of a node, in pixels.
const END_SPACING: f64 = 44.0;

/// The layout of a phase; x and y count from its left and its top.
pub(super) struct PhaseLayout {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) stages: Vec<Rect>,
    pub(super) nodes: Vec<Rect>,
    pub(super) edges: Vec<EdgePath>,
}

impl PhaseLayout {
    /// Lays out a phase whose nodes have these widths.
    pub(super) fn new(phase: &Phase, widths: &[f64]) -> PhaseLayout {
        let stages = PlacedStages::new(phase, widths);
        let nodes: Vec<Rect> = (0..widths.len())
            .map(|n| stages.node(n, widths[n]))
            .collect();
        let mut edges: Vec<EdgePath> = vec![];
        for (e, edge) in phase.edges.iter().enumerate() {
            let start = nodes[edge.from];
            let end = nodes[edge.to];
            let mut path = vec![Segment {
                x: start.middle(),
                top: start.bottom(),
                bottom: start.bottom(),
            }];
            stages.extend_path(&mut path, e, edge);
            path.push(Segment {
                x: end.middle(),
                top: end.y,
                bottom: end.y,
            });
            edges.push(path);
        }
        spread_ends(phase, widths, &mut edges);
        let stage_rights = stages.rects.iter().map(|stage| stage.x + stage.width);
        let segments = edges.iter().flatten().map(|segment| segment.x);
        PhaseLayout {
            width: stage_rights.chain(segments).fold(0.0, f64::max),
            height: stages.height(),
            stages: stages.rects,
            nodes,
            edges,
        }
    }
}

/// Spreads the ends of edges along their nodes, ordered by the x that the edges lead to.
///
/// All edges out of one port leave the node together.
fn spread_ends(phase: &Phase, widths: &[f64], paths: &mut [EdgePath]) {
    for (node, &width) in widths.iter().enumerate() {
        let mut out_of_ports: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut into_node: Vec<Vec<usize>> = vec![];
        for (e, edge) in phase.edges.iter().enumerate() {
            if edge.from == node {
                out_of_ports.entry(edge.out).or_default().push(e);
            }
            if edge.to == node {
                into_node.push(vec![e]);
            }
        }
        let out_of_ports = out_of_ports.into_values().collect();
        spread_groups(out_of_ports, width, paths, |_, i| i);
        spread_groups(into_node, width, paths, |path, i| path.len() - 1 - i);
    }
}

/// Spreads groups of edges along a side of a node of this width.
///
/// `index(path, i)` is the index of the path's segment that is the i-th from the node.
fn spread_groups(
    groups: Vec<Vec<usize>>,
    width: f64,
    paths: &mut [EdgePath],
    index: fn(&EdgePath, usize) -> usize,
) {
    let mut sorted: Vec<(f64, Vec<usize>)> = vec![];
    for edges in groups {
        let next_x = edges.iter().map(|&e| paths[e][index(&paths[e], 1)].x);
        let mean = next_x.sum::<f64>() / edges.len() as f64;
        sorted.push((mean, edges));
    }
    sorted.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let spacing = END_SPACING.min(width / sorted.len().max(1) as f64);
    let middle = (sorted.len() as f64 - 1.0) / 2.0;
    for (i, (_, edges)) in sorted.iter().enumerate() {
        for &e in edges {
            let end = index(&paths[e], 0);
            paths[e][end].x += (i as f64 - middle) * spacing;
        }
    }
}
