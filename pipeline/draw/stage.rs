//! The layout of one stage: its nodes in rows, and where edges from and to other stages pass those
//! rows.
use super::layout::{self, PASS_WIDTH, RowItem, RowLink};
use crate::graph::plan::Phase;
use std::collections::BTreeMap;

/// Height of a node, in pixels.
pub(super) const NODE_HEIGHT: f64 = 42.0;
/// Space below a row of nodes.
const BELOW_ROW: f64 = 40.0;
/// Space for the name of the stage.
const NAME_HEIGHT: f64 = 24.0;
/// Space around the nodes.
const PADDING: f64 = 16.0;

/// Returns the top of a row, from the top of its stage.
pub(super) fn row_top(row: usize) -> f64 {
    NAME_HEIGHT + row as f64 * (NODE_HEIGHT + BELOW_ROW)
}

/// Where an edge passes a row.
#[derive(Clone, Copy)]
pub(super) struct RowPass {
    /// From the middle of the stage.
    pub(super) x: f64,
    pub(super) row: usize,
}

/// The layout of a stage; x counts from the middle of the stage.
pub(super) struct StageLayout {
    pub(super) width: f64,
    pub(super) height: f64,
    /// The row of each node.
    pub(super) rows: BTreeMap<usize, usize>,
    /// The middle of each node.
    pub(super) x: BTreeMap<usize, f64>,
    /// For each edge with an end in this stage, where it passes rows, from the top to the bottom.
    pub(super) passes: BTreeMap<usize, Vec<RowPass>>,
}

impl StageLayout {
    /// Lays out the nodes of a stage; `widths` are those of all nodes of the phase.
    pub(super) fn new(phase: &Phase, nodes: &[usize], widths: &[f64]) -> StageLayout {
        let index_of = |node: usize| nodes.iter().position(|other| *other == node);
        let inner_links: Vec<[usize; 2]> = phase
            .edges
            .iter()
            .filter_map(|edge| Some([index_of(edge.from)?, index_of(edge.to)?]))
            .collect();
        let rows = layout::rows(nodes.len(), &inner_links);
        let last_row = rows.iter().copied().max().unwrap_or(0);
        let mut items = vec![];
        for (&node, &row) in nodes.iter().zip(&rows) {
            items.push(RowItem {
                row,
                width: widths[node],
            });
        }
        // An edge to another stage leaves through the last row, an edge from another stage enters
        // through the first one: there it has an item, unless its node stands in that row.
        let mut link_edges = vec![];
        let mut links = vec![];
        let mut passes = BTreeMap::new();
        for (e, edge) in phase.edges.iter().enumerate() {
            let ends = match (index_of(edge.from), index_of(edge.to)) {
                (None, None) => continue,
                (Some(from), Some(to)) => Some([from, to]),
                (Some(from), None) if rows[from] < last_row => {
                    items.push(crossing(last_row));
                    Some([from, items.len() - 1])
                }
                (None, Some(to)) if rows[to] > 0 => {
                    items.push(crossing(0));
                    Some([items.len() - 1, to])
                }
                _ => None,
            };
            passes.insert(e, vec![]);
            if let Some(ends) = ends {
                link_edges.push(e);
                links.push(RowLink {
                    items: ends,
                    offsets: [0.0; 2],
                });
            }
        }
        let found = layout::positions(&items, &links);

        // The extent to the left and to the right of the layout's x = 0.
        let extent = |sign: f64| {
            let placed = items.iter().zip(&found.items);
            placed
                .map(|(item, x)| sign * x + item.width / 2.0)
                .fold(f64::MIN, f64::max)
        };
        let left = extent(-1.0);
        let right = extent(1.0);
        let shift = (left - right) / 2.0;
        let item_x = |item: usize| found.items[item] + shift;

        for ((e, link), link_passes) in link_edges.iter().zip(&links).zip(&found.passes) {
            let [from, to] = link.items;
            let item_pass = |item: usize| RowPass {
                x: item_x(item),
                row: items[item].row,
            };
            let mut edge_passes = vec![];
            if from >= nodes.len() {
                edge_passes.push(item_pass(from));
            }
            for (x, row) in link_passes.iter().zip(items[from].row + 1..) {
                edge_passes.push(RowPass { x: x + shift, row });
            }
            if to >= nodes.len() {
                edge_passes.push(item_pass(to));
            }
            passes.insert(*e, edge_passes);
        }
        StageLayout {
            width: left + right + 2.0 * PADDING,
            height: row_top(last_row) + NODE_HEIGHT + PADDING,
            rows: nodes.iter().copied().zip(rows).collect(),
            x: nodes
                .iter()
                .enumerate()
                .map(|(i, node)| (*node, item_x(i)))
                .collect(),
            passes,
        }
    }
}

/// Returns the item of an edge that leaves or enters the stage.
fn crossing(row: usize) -> RowItem {
    RowItem {
        row,
        width: PASS_WIDTH,
    }
}
