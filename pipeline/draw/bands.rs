//! The layout of the stages of a phase: in bands, one below the other, with the edges between them.
use super::layout::{self, RowItem, RowLink, RowPositions};
use super::shape::{EdgePath, Rect, Segment};
use super::stage::{NODE_HEIGHT, RowPass, StageLayout, row_top};
use crate::graph::plan::{Edge, Phase};
use std::collections::BTreeMap;

/// Space between stages, in pixels.
const BETWEEN_STAGES: f64 = 44.0;

/// The stages of a phase in bands, one below the other.
pub(super) struct PlacedStages {
    /// The stage of each node.
    stage_of: Vec<usize>,
    layouts: Vec<StageLayout>,
    pub(super) rects: Vec<Rect>,
    /// The band of each stage.
    bands: Vec<usize>,
    /// The top of each band, and of the one that would follow the last.
    band_tops: Vec<f64>,
    /// For each edge between stages, its x in each band that it passes.
    band_passes: BTreeMap<usize, Vec<f64>>,
}

impl PlacedStages {
    /// Lays out the stages of a phase whose nodes have these widths.
    pub(super) fn new(phase: &Phase, widths: &[f64]) -> PlacedStages {
        let layouts: Vec<StageLayout> = phase
            .stages
            .iter()
            .map(|stage| StageLayout::new(phase, stage, widths))
            .collect();
        let mut stage_of = vec![0; phase.nodes.len()];
        for (s, stage) in phase.stages.iter().enumerate() {
            for &node in stage {
                stage_of[node] = s;
            }
        }
        let mut crossing = vec![]; // edges between stages
        let mut crossing_stages = vec![];
        for (e, edge) in phase.edges.iter().enumerate() {
            if !edge.within {
                crossing.push(e);
                crossing_stages.push([stage_of[edge.from], stage_of[edge.to]]);
            }
        }
        let bands = layout::rows(layouts.len(), &crossing_stages);
        let band_tops = band_tops(&layouts, &bands);

        let mut items = vec![];
        for (stage, &band) in layouts.iter().zip(&bands) {
            items.push(RowItem {
                row: band,
                width: stage.width,
            });
        }
        let mut links = vec![];
        for (&e, &[from, to]) in crossing.iter().zip(&crossing_stages) {
            let edge = &phase.edges[e];
            links.push(RowLink {
                items: [from, to],
                offsets: [
                    exit_x(&layouts[from], e, edge),
                    entry_x(&layouts[to], e, edge),
                ],
            });
        }
        let positions = layout::positions(&items, &links);
        let left = left_end(&positions, &layouts);
        let mut rects = vec![];
        for (s, stage) in layouts.iter().enumerate() {
            rects.push(Rect {
                x: positions.items[s] - stage.width / 2.0 - left,
                y: band_tops[bands[s]],
                width: stage.width,
                height: stage.height,
            });
        }
        let mut band_passes = BTreeMap::new();
        for (&e, passes) in crossing.iter().zip(&positions.passes) {
            band_passes.insert(e, passes.iter().map(|x| x - left).collect());
        }
        PlacedStages {
            stage_of,
            layouts,
            rects,
            bands,
            band_tops,
            band_passes,
        }
    }

    /// Returns the box of a node of this width.
    pub(super) fn node(&self, node: usize, width: f64) -> Rect {
        let stage = self.stage_of[node];
        let layout = &self.layouts[stage];
        let middle = self.rects[stage].middle() + layout.x[&node];
        Rect {
            x: middle - width / 2.0,
            y: self.rects[stage].y + row_top(layout.rows[&node]),
            width,
            height: NODE_HEIGHT,
        }
    }

    /// Adds the segments of an edge between its nodes: the rows and bands that it passes.
    pub(super) fn extend_path(&self, path: &mut EdgePath, e: usize, edge: &Edge) {
        let from = self.stage_of[edge.from];
        let to = self.stage_of[edge.to];
        path.extend(self.row_segments(from, e));
        let Some(band_passes) = self.band_passes.get(&e) else {
            return;
        };
        let exit = path[path.len() - 1];
        path.push(Segment {
            x: exit.x,
            top: exit.bottom,
            bottom: self.band_bottom(self.bands[from]),
        });
        for (&x, band) in band_passes.iter().zip(self.bands[from] + 1..) {
            path.push(Segment {
                x,
                top: self.band_tops[band],
                bottom: self.band_bottom(band),
            });
        }
        path.extend(self.row_segments(to, e));
    }

    /// Returns the segments of an edge beside the nodes of a stage.
    fn row_segments(&self, stage: usize, e: usize) -> impl Iterator<Item = Segment> {
        let middle = self.rects[stage].middle();
        let stage_top = self.rects[stage].y;
        let passes = self.layouts[stage].passes[&e].iter();
        passes.map(move |&RowPass { x, row }| {
            let top = stage_top + row_top(row);
            Segment {
                x: middle + x,
                top,
                bottom: top + NODE_HEIGHT,
            }
        })
    }

    /// Returns the height of all bands together.
    pub(super) fn height(&self) -> f64 {
        self.band_bottom(self.band_tops.len() - 2)
    }

    fn band_bottom(&self, band: usize) -> f64 {
        self.band_tops[band + 1] - BETWEEN_STAGES
    }
}

/// Returns the top of each band, and of the one that would follow the last. A band is as high as
/// its highest stage.
fn band_tops(layouts: &[StageLayout], bands: &[usize]) -> Vec<f64> {
    let last_band = bands.iter().copied().max().unwrap_or(0);
    let mut tops = vec![0.0];
    for band in 0..=last_band {
        let mut height: f64 = 0.0;
        for (stage, &stage_band) in layouts.iter().zip(bands) {
            if stage_band == band {
                height = height.max(stage.height);
            }
        }
        tops.push(tops[band] + height + BETWEEN_STAGES);
    }
    tops
}

/// Returns the x at which an edge leaves the stage of its first node.
fn exit_x(stage: &StageLayout, e: usize, edge: &Edge) -> f64 {
    match stage.passes[&e].last() {
        Some(pass) => pass.x,
        None => stage.x[&edge.from],
    }
}

/// Returns the x at which an edge enters the stage of its last node.
fn entry_x(stage: &StageLayout, e: usize, edge: &Edge) -> f64 {
    match stage.passes[&e].first() {
        Some(pass) => pass.x,
        None => stage.x[&edge.to],
    }
}

/// Returns the least x of all stages and of the edges beside them.
fn left_end(positions: &RowPositions, layouts: &[StageLayout]) -> f64 {
    let stages = positions.items.iter().zip(layouts);
    let stage_lefts = stages.map(|(x, stage)| x - stage.width / 2.0);
    let passes = positions.passes.iter().flatten().copied();
    stage_lefts.chain(passes).fold(f64::MAX, f64::min)
}
