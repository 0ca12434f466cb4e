//! The plan as a picture: phases side by side, stages as dashed boxes, edges between stages as
//! thick arrows and edges within a stage as thin ones.
use super::phase::PhaseLayout;
use super::shape::Rect;
use super::stage::NODE_HEIGHT;
use crate::format::short;
use crate::graph::plan::{Phase, Plan, PlannedNode};
use nodes::chart::svg;
use nodes::chart::svg::escape;

mod edges;

/// Space around phases, and between the border of a phase and its stages, in pixels.
const MARGIN: f64 = 20.0;
/// Height of a title.
const TITLE_HEIGHT: f64 = 38.0;
/// Width of a letter of a node's name; most letters are narrower.
const LETTER_WIDTH: f64 = 7.6;
/// Least width of a node.
const LEAST_NODE_WIDTH: f64 = 112.0;
/// Longest node name that is shown whole, in characters.
const LONGEST_NAME: usize = 28;
/// Width of the legend.
const LEGEND_WIDTH: f64 = 360.0;
/// Distance between two lines of the legend.
const LEGEND_LINE: f64 = 19.0;
/// Number of the colour of edges between stages.
const BATCH_COLOR: usize = 0;
/// Number of the colour of edges within a stage.
const TENSOR_COLOR: usize = 1;

/// Returns the picture as an SVG file.
pub fn file(plan: &Plan) -> String {
    let picture = Picture::new(plan);
    svg::file(picture.width, picture.height, &picture.drawing)
}

/// Returns the picture as an element of an HTML page.
pub fn inline(plan: &Plan) -> String {
    let picture = Picture::new(plan);
    svg::inline(picture.width, picture.height, &picture.drawing)
}

/// The elements of a picture and its size.
struct Picture {
    width: f64,
    height: f64,
    drawing: String,
}

impl Picture {
    fn new(plan: &Plan) -> Picture {
        let mut layouts = vec![];
        let mut height: f64 = 0.0;
        for phase in &plan.phases {
            let layout = PhaseLayout::new(phase, &node_widths(phase));
            height = height.max(layout.height);
            layouts.push(layout);
        }
        let panel_height = height + TITLE_HEIGHT + MARGIN;
        let name = escape(&plan.name);
        let mut drawing = format!("<text class=\"title\" x=\"{MARGIN}\" y=\"25\">{name}</text>\n");
        let mut x = MARGIN;
        for (phase, layout) in plan.phases.iter().zip(&layouts) {
            let panel_width = layout.width + 2.0 * MARGIN;
            let size = format!("width=\"{panel_width:.1}\" height=\"{panel_height:.1}\"");
            let corner = format!("x=\"{x:.1}\" y=\"{TITLE_HEIGHT}\"");
            drawing += &format!("<rect class=\"panel\" {corner} {size} rx=\"8\"/>\n");
            let left = x + MARGIN;
            if plan.phased {
                let position = format!("x=\"{left:.1}\" y=\"{}\"", TITLE_HEIGHT + 24.0);
                let name = escape(&phase.name);
                drawing += &format!("<text class=\"title\" {position}>{name}</text>\n");
            }
            let top = 2.0 * TITLE_HEIGHT;
            let panel = panel(phase, layout);
            drawing += &format!("<g transform=\"translate({left:.1} {top})\">\n{panel}</g>\n");
            x += panel_width + MARGIN;
        }
        let legend_top = TITLE_HEIGHT + panel_height;
        let lines = legend_lines();
        for (i, line) in lines.iter().enumerate() {
            let y = legend_top + 22.0 + LEGEND_LINE * i as f64;
            drawing += &format!("<g transform=\"translate(0 {y:.1})\">{line}</g>\n");
        }
        Picture {
            width: x.max(LEGEND_WIDTH),
            height: legend_top + 22.0 + LEGEND_LINE * lines.len() as f64,
            drawing,
        }
    }
}

/// Returns widths at which both lines of text fit into each node.
fn node_widths(phase: &Phase) -> Vec<f64> {
    let mut widths = vec![];
    for node in &phase.nodes {
        let name_letters = shown_name(node).chars().count();
        let description_letters = description(node).chars().count();
        let letters = name_letters.max(description_letters);
        widths.push((letters as f64 * LETTER_WIDTH + 20.0).max(LEAST_NODE_WIDTH));
    }
    widths
}

/// Draws a phase: its stages, above them the edges with their labels, above these the nodes.
fn panel(phase: &Phase, layout: &PhaseLayout) -> String {
    let mut svg = String::new();
    for (i, rect) in layout.stages.iter().enumerate() {
        svg += &stage(i, rect);
    }
    for (edge, path) in phase.edges.iter().zip(&layout.edges) {
        svg += &edges::arrow(phase, edge, path);
    }
    for e in 0..phase.edges.len() {
        svg += &edges::label(&phase.edges, e, &layout.edges);
    }
    for (planned, rect) in phase.nodes.iter().zip(&layout.nodes) {
        svg += &node(planned, rect);
    }
    svg
}

fn stage(number: usize, rect: &Rect) -> String {
    let position = format!("x=\"{:.1}\" y=\"{:.1}\"", rect.x + 8.0, rect.y + 15.0);
    let name = format!("<text class=\"small faint\" {position}>stage {number}</text>");
    format!(
        "<rect class=\"frame\" {} rx=\"6\"/>{name}\n",
        attributes(rect)
    )
}

fn node(node: &PlannedNode, rect: &Rect) -> String {
    let text = |class: &str, y: f64, text: &str| {
        let x = rect.middle();
        let y = rect.y + y;
        let position = format!("x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\"");
        format!("<text class=\"{class}\" {position}>{}</text>", escape(text))
    };
    let title = format!("<title>{}</title>", escape(node.name()));
    let frame = format!("<rect class=\"node\" {} rx=\"5\"/>", attributes(rect));
    let name = text("title", NODE_HEIGHT / 2.0 - 3.0, &shown_name(node));
    let description = text("small faint", NODE_HEIGHT / 2.0 + 13.0, &description(node));
    format!("<g>{title}{frame}{name}{description}</g>\n")
}

fn attributes(rect: &Rect) -> String {
    let Rect {
        x,
        y,
        width,
        height,
    } = rect;
    format!("x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"")
}

/// Returns the node's kind and, if it has some, its parameters: `student · 5.03 M`.
fn description(node: &PlannedNode) -> String {
    let kind = &node.spec.kind;
    let Some(parameters) = node.info.parameters else {
        return kind.clone();
    };
    let prefix = if node.info.estimated { "≈ " } else { "" };
    format!("{kind} · {prefix}{}", short(parameters))
}

/// Returns the node's name, cut if it is too long for a box.
fn shown_name(node: &PlannedNode) -> String {
    let name = node.name();
    if name.chars().count() <= LONGEST_NAME {
        return name.into();
    }
    let mut cut: String = name.chars().take(LONGEST_NAME - 1).collect();
    cut.push('…');
    cut
}

/// Returns the lines of the legend: a sample of each line style and its meaning.
fn legend_lines() -> [String; 3] {
    let line = |path: &str, meaning: &str| {
        let text = format!("<text class=\"small faint\" x=\"56\" y=\"4\">{meaning}</text>");
        format!("<path {path}/>{text}")
    };
    let batches = format!("class=\"thick stroke{BATCH_COLOR}\" d=\"M20 0h26\"");
    let tape = format!("class=\"thin stroke{TENSOR_COLOR}\" d=\"M20 0h26\"");
    let stage = "class=\"frame\" d=\"M21-5h24v10h-24z\"";
    [
        line(&batches, "batches, from thread to thread"),
        line(&tape, "on the tape, with gradients"),
        line(stage, "a stage: one thread"),
    ]
}
