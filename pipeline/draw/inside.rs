//! One stage by itself: its nodes in rows, and where the edges from and to other stages pass them.
use super::layout::{self, Item, Link};
use crate::graph::plan::Phase;
use std::collections::BTreeMap;

/// In pixels: a node's height, the space below it, that of the stage's name, and around the nodes.
pub const NODE: f64 = 42.0;
const BELOW: f64 = 40.0;
const NAME: f64 = 24.0;
const INSIDE: f64 = 16.0;

/// From the stage's top.
pub fn row_top(row: usize) -> f64 {
    NAME + row as f64 * (NODE + BELOW)
}

/// x from the stage's middle.
pub struct Inside {
    pub width: f64,
    pub height: f64,
    /// Of each node.
    pub rows: BTreeMap<usize, usize>,
    pub x: BTreeMap<usize, f64>,
    /// Of each edge that begins or ends here, where it passes rows: x and row.
    pub ways: BTreeMap<usize, Vec<(f64, usize)>>,
}

impl Inside {
    pub fn new(phase: &Phase, nodes: &[usize], widths: &[f64]) -> Inside {
        let at = |node: usize| nodes.iter().position(|n| *n == node);
        let within = phase
            .edges
            .iter()
            .filter_map(|e| at(e.from).zip(at(e.to)))
            .map(|(a, b)| [a, b]);
        let rows = layout::rows(nodes.len(), &within.collect::<Vec<_>>());
        let last = rows.iter().copied().max().unwrap_or(0);
        let mut items: Vec<Item> = nodes
            .iter()
            .zip(&rows)
            .map(|(n, &row)| Item {
                row,
                width: widths[*n],
            })
            .collect();
        // An edge from or to another stage ends in the last row, begins in the first one.
        let mut links: Vec<(usize, [usize; 2])> = vec![];
        let mut ways: BTreeMap<usize, Vec<(f64, usize)>> = BTreeMap::new();
        for (e, edge) in phase.edges.iter().enumerate() {
            let mut door = |row: usize| {
                items.push(Item {
                    row,
                    width: layout::PASS,
                });
                items.len() - 1
            };
            match (at(edge.from), at(edge.to)) {
                (Some(from), Some(to)) => links.push((e, [from, to])),
                (Some(from), None) if rows[from] < last => links.push((e, [from, door(last)])),
                (None, Some(to)) if rows[to] > 0 => links.push((e, [door(0), to])),
                (None, None) => continue,
                _ => {}
            }
            ways.insert(e, vec![]);
        }
        let found = layout::places(
            &items,
            &links
                .iter()
                .map(|(_, ends)| Link {
                    ends: *ends,
                    at: [0.0; 2],
                })
                .collect::<Vec<_>>(),
        );
        let side = |sign: f64| {
            items
                .iter()
                .zip(&found.items)
                .map(|(i, x)| sign * x + i.width / 2.0)
                .fold(f64::MIN, f64::max)
        };
        let (left, right) = (side(-1.0), side(1.0));
        let x = |item: usize| found.items[item] + (left - right) / 2.0;
        for ((e, [from, to]), passes) in links.iter().zip(&found.passes) {
            let door = |item: &usize| (*item >= nodes.len()).then(|| (x(*item), items[*item].row));
            let passes = passes
                .iter()
                .zip(items[*from].row + 1..)
                .map(|(p, row)| (p + (left - right) / 2.0, row));
            ways.insert(
                *e,
                door(from)
                    .into_iter()
                    .chain(passes)
                    .chain(door(to))
                    .collect(),
            );
        }
        Inside {
            width: left + right + 2.0 * INSIDE,
            height: row_top(last) + NODE + INSIDE,
            rows: nodes.iter().copied().zip(rows).collect(),
            x: nodes.iter().enumerate().map(|(i, n)| (*n, x(i))).collect(),
            ways,
        }
    }
}
