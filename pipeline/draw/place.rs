//! Where a phase's stages, nodes and edges go. Each stage is laid out by itself, then the stages are: so an edge passes
//! beside every stage that it does not belong to.
use super::inside::{Inside, NODE, row_top};
use super::layout::{self, Item, Link};
use crate::graph::plan::{Edge, Phase};
use std::collections::BTreeMap;

/// In pixels, between stages.
const BETWEEN: f64 = 44.0;
/// Between the ends of edges on one side of a node, at most.
const SPREAD: f64 = 44.0;

#[derive(Clone, Copy, Default)]
pub struct Rect {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Rect {
    pub fn middle(&self) -> f64 {
        self.x + self.width / 2.0
    }
    pub fn bottom(&self) -> f64 {
        self.y + self.height
    }
}

/// An edge: straight down along each line (x, from y, to y), in curves from one to the next.
pub type Way = Vec<[f64; 3]>;

pub struct Placed {
    pub width: f64,
    pub height: f64,
    pub stages: Vec<Rect>,
    pub nodes: Vec<Rect>,
    pub ways: Vec<Way>,
}

/// `widths` are those of the nodes.
pub fn place(phase: &Phase, widths: &[f64]) -> Placed {
    let insides: Vec<Inside> = phase
        .stages
        .iter()
        .map(|stage| Inside::new(phase, stage, widths))
        .collect();
    let stage_of = |node: usize| {
        phase
            .stages
            .iter()
            .position(|s| s.contains(&node))
            .unwrap_or(0)
    };
    let ends = |e: &Edge| [stage_of(e.from), stage_of(e.to)];
    let crossing: Vec<usize> = (0..phase.edges.len())
        .filter(|e| !phase.edges[*e].within)
        .collect();
    let bands = layout::rows(
        insides.len(),
        &crossing
            .iter()
            .map(|e| ends(&phase.edges[*e]))
            .collect::<Vec<_>>(),
    );
    let items: Vec<Item> = insides
        .iter()
        .zip(&bands)
        .map(|(s, &row)| Item {
            row,
            width: s.width,
        })
        .collect();
    let link = |e: &usize| {
        let edge = &phase.edges[*e];
        let [from, to] = ends(edge);
        let out = insides[from].ways[e]
            .last()
            .map_or(insides[from].x[&edge.from], |p| p.0);
        let into = insides[to].ways[e]
            .first()
            .map_or(insides[to].x[&edge.to], |p| p.0);
        Link {
            ends: [from, to],
            at: [out, into],
        }
    };
    let found = layout::places(&items, &crossing.iter().map(link).collect::<Vec<_>>());

    let height = |band: usize| {
        insides
            .iter()
            .zip(&bands)
            .filter(|(_, b)| **b == band)
            .map(|(s, _)| s.height)
            .fold(0.0, f64::max)
    };
    let mut tops = vec![0.0];
    for band in 0..=bands.iter().copied().max().unwrap_or(0) {
        tops.push(tops[band] + height(band) + BETWEEN);
    }
    let lefts = found
        .items
        .iter()
        .zip(&insides)
        .map(|(x, s)| x - s.width / 2.0);
    let left = lefts
        .chain(found.passes.iter().flatten().copied())
        .fold(f64::MAX, f64::min);
    let stage = |(s, inside): (usize, &Inside)| {
        let (width, height) = (inside.width, inside.height);
        Rect {
            x: found.items[s] - width / 2.0 - left,
            y: tops[bands[s]],
            width,
            height,
        }
    };
    let stages: Vec<Rect> = insides.iter().enumerate().map(stage).collect();
    let node = |n: usize| {
        let s = stage_of(n);
        let (x, y) = (
            stages[s].middle() + insides[s].x[&n],
            stages[s].y + row_top(insides[s].rows[&n]),
        );
        Rect {
            x: x - widths[n] / 2.0,
            y,
            width: widths[n],
            height: NODE,
        }
    };
    let nodes: Vec<Rect> = (0..widths.len()).map(node).collect();

    let inner = |s: usize, e: usize| {
        let (middle, top) = (stages[s].middle(), stages[s].y);
        let line =
            |&(x, row): &(f64, usize)| [middle + x, top + row_top(row), top + row_top(row) + NODE];
        insides[s].ways[&e].iter().map(line).collect::<Way>()
    };
    let mut ways: Vec<Way> = vec![];
    for (e, edge) in phase.edges.iter().enumerate() {
        let [from, to] = ends(edge);
        let mut way = vec![[
            nodes[edge.from].middle(),
            nodes[edge.from].bottom(),
            nodes[edge.from].bottom(),
        ]];
        way.extend(inner(from, e));
        if let Some(c) = crossing.iter().position(|c| *c == e) {
            let end = way[way.len() - 1];
            way.push([end[0], end[2], tops[bands[from] + 1] - BETWEEN]);
            let pass = |(x, band): (&f64, usize)| [x - left, tops[band], tops[band + 1] - BETWEEN];
            way.extend(found.passes[c].iter().zip(bands[from] + 1..).map(pass));
            way.extend(inner(to, e));
        }
        way.push([nodes[edge.to].middle(), nodes[edge.to].y, nodes[edge.to].y]);
        ways.push(way);
    }
    spread(phase, widths, &mut ways);
    let right = stages
        .iter()
        .map(|s| s.x + s.width)
        .chain(ways.iter().flatten().map(|l| l[0]))
        .fold(0.0, f64::max);
    Placed {
        width: right,
        height: tops[tops.len() - 1] - BETWEEN,
        stages,
        nodes,
        ways,
    }
}

/// Keeps the ends of edges apart: those out of one port leave a node together, all others side by side, in the order of
/// where they come from or go to.
fn spread(phase: &Phase, widths: &[f64], ways: &mut [Way]) {
    for (node, width) in widths.iter().enumerate() {
        let mut outs: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        phase
            .edges
            .iter()
            .enumerate()
            .filter(|(_, e)| e.from == node)
            .for_each(|(e, edge)| outs.entry(edge.out).or_default().push(e));
        let ins = phase
            .edges
            .iter()
            .enumerate()
            .filter(|(_, e)| e.to == node)
            .map(|(e, _)| vec![e]);
        for (groups, first) in [
            (outs.into_values().collect::<Vec<_>>(), true),
            (ins.collect(), false),
        ] {
            let end = |way: &Way, i: usize| if first { i } else { way.len() - 1 - i };
            let aim = |group: &Vec<usize>| {
                group
                    .iter()
                    .map(|e| ways[*e][end(&ways[*e], 1)][0])
                    .sum::<f64>()
                    / group.len() as f64
            };
            let mut groups: Vec<(f64, Vec<usize>)> =
                groups.into_iter().map(|g| (aim(&g), g)).collect();
            groups.sort_by(|a, b| a.0.total_cmp(&b.0));
            let apart = SPREAD.min(width / groups.len().max(1) as f64);
            let middle = (groups.len() as f64 - 1.0) / 2.0;
            for (i, (_, group)) in groups.iter().enumerate() {
                for e in group {
                    let at = end(&ways[*e], 0);
                    ways[*e][at][0] += (i as f64 - middle) * apart;
                }
            }
        }
    }
}
