//! The plan as a picture: phases side by side, stages as dashed boxes, batches as thick arrows, what stays in a stage as thin
//! ones.
use super::inside::NODE;
use super::place::{Placed, Rect, Way, place};
use crate::graph::plan::{Edge, Phase, Plan, PlannedNode};
use crate::report::summary::short;
use nodes::chart::svg;
use nodes::chart::svg::escape;

/// In pixels: around panels and in them, and the space of a title.
const AROUND: f64 = 20.0;
const TITLE: f64 = 38.0;
/// A letter of a node's name, at most about, and a node's least width.
const LETTER: f64 = 7.6;
const NARROW: f64 = 112.0;
/// The colours of what crosses threads and of what stays.
const COLORS: [usize; 2] = [0, 1];

/// A file by itself.
pub fn file(plan: &Plan) -> String {
    let (width, height, drawing) = draw(plan);
    svg::file(width, height, &drawing)
}

/// A part of a page.
pub fn inline(plan: &Plan) -> String {
    let (width, height, drawing) = draw(plan);
    svg::inline(width, height, &drawing)
}

fn draw(plan: &Plan) -> (f64, f64, String) {
    let panels: Vec<(&Phase, Placed)> = plan
        .phases
        .iter()
        .map(|p| (p, place(p, &widths(p))))
        .collect();
    let tall = panels.iter().map(|(_, p)| p.height).fold(0.0, f64::max) + TITLE + AROUND;
    let mut drawing = format!(
        "<text class=\"title\" x=\"{AROUND}\" y=\"25\">{}</text>\n",
        escape(&plan.name)
    );
    let mut x = AROUND;
    for (phase, placed) in &panels {
        let wide = placed.width + 2.0 * AROUND;
        drawing += &format!(
            "<rect class=\"panel\" x=\"{x:.1}\" y=\"{TITLE}\" width=\"{wide:.1}\" height=\"{tall:.1}\" rx=\"8\"/>\n"
        );
        if plan.phased {
            let place = format!("x=\"{:.1}\" y=\"{}\"", x + AROUND, TITLE + 24.0);
            drawing += &format!(
                "<text class=\"title\" {place}>{}</text>\n",
                escape(&phase.name)
            );
        }
        let (left, top) = (x + AROUND, 2.0 * TITLE);
        drawing += &format!(
            "<g transform=\"translate({left:.1} {top})\">\n{}</g>\n",
            panel(phase, placed)
        );
        x += wide + AROUND;
    }
    let (legend, high) = legend(TITLE + tall);
    (x.max(LEGEND), high, drawing + &legend)
}

fn widths(phase: &Phase) -> Vec<f64> {
    let letters = |node: &PlannedNode| {
        shown(node.name())
            .chars()
            .count()
            .max(about(node).chars().count())
    };
    phase
        .nodes
        .iter()
        .map(|n| (letters(n) as f64 * LETTER + 20.0).max(NARROW))
        .collect()
}

fn panel(phase: &Phase, placed: &Placed) -> String {
    let stages = placed.stages.iter().enumerate().map(|(i, r)| {
        let name = format!(
            "<text class=\"small faint\" x=\"{:.1}\" y=\"{:.1}\">stage {i}</text>",
            r.x + 8.0,
            r.y + 15.0
        );
        format!("<rect class=\"frame\" {} rx=\"6\"/>{name}\n", size(r))
    });
    let edges = phase
        .edges
        .iter()
        .zip(&placed.ways)
        .map(|(e, way)| edge(phase, e, way));
    let labels = phase
        .edges
        .iter()
        .enumerate()
        .filter_map(|(i, e)| label(phase, i, e, &placed.ways));
    let nodes = phase
        .nodes
        .iter()
        .zip(&placed.nodes)
        .map(|(n, r)| node(n, r));
    stages.chain(edges).chain(labels).chain(nodes).collect()
}

fn size(r: &Rect) -> String {
    format!(
        "x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"",
        r.x, r.y, r.width, r.height
    )
}

fn node(node: &PlannedNode, r: &Rect) -> String {
    let line = |class: &str, y: f64, text: &str| {
        let place = format!(
            "x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\"",
            r.middle(),
            r.y + y
        );
        format!("<text class=\"{class}\" {place}>{}</text>", escape(text))
    };
    let name = line("title", NODE / 2.0 - 3.0, &shown(node.name()));
    let about = line("small faint", NODE / 2.0 + 13.0, &about(node));
    format!(
        "<g><title>{}</title><rect class=\"node\" {} rx=\"5\"/>{name}{about}</g>\n",
        escape(node.name()),
        size(r)
    )
}

/// `student · 5.03 M`: the kind, and the parameters if it has some.
fn about(node: &PlannedNode) -> String {
    let count = node.info.parameters.map(|n| {
        format!(
            " · {}{}",
            if node.info.estimated { "≈ " } else { "" },
            short(n)
        )
    });
    format!("{}{}", node.spec.kind, count.unwrap_or_default())
}

/// A name of any length in a box.
fn shown(name: &str) -> String {
    const MOST: usize = 28;
    if name.chars().count() <= MOST {
        name.into()
    } else {
        name.chars().take(MOST - 1).chain(['…']).collect()
    }
}

fn edge(phase: &Phase, edge: &Edge, way: &Way) -> String {
    let [from, to] = [(edge.from, edge.out), (edge.to, edge.port)]
        .map(|(n, port)| format!("{}.{port}", phase.nodes[n].name()));
    let (what, class) = match (edge.on_tape, edge.within) {
        (true, _) => ("on the tape", "thin"),
        (false, true) => ("tensors", "thin"),
        (false, false) => ("batches", "thick"),
    };
    let color = COLORS[edge.within as usize];
    let [x, _, y] = way[way.len() - 1];
    let head = format!(
        "<path class=\"fill{color}\" d=\"M{:.1} {:.1}h10l-5 9z\"/>",
        x - 5.0,
        y - 9.0
    );
    let says = escape(&format!("{from} → {to}, {what}"));
    format!(
        "<g><title>{says}</title><path class=\"{class} stroke{color}\" d=\"{}\"/>{head}</g>\n",
        curve(way, 7.0)
    )
}

/// Straight along each line of the way, S-shaped between them; it ends so far above its end.
fn curve(way: &Way, above: f64) -> String {
    let mut path = format!("M{:.1} {:.1}", way[0][0], way[0][1]);
    for (i, pair) in way.windows(2).enumerate() {
        let ([a, _, top], [b, end, mut bottom]) = (pair[0], pair[1]);
        let last = i + 2 == way.len();
        let end = if last { end - above } else { end };
        bottom = if last { end } else { bottom };
        let middle = (top + end) / 2.0;
        path += &format!("C{a:.1} {middle:.1} {b:.1} {middle:.1} {b:.1} {end:.1}V{bottom:.1}");
    }
    path
}

/// The port's name where its first edge leaves the node, on the side that its edges do not turn to.
fn label(phase: &Phase, i: usize, edge: &Edge, ways: &[Way]) -> Option<String> {
    let same = |e: &Edge| e.from == edge.from && e.out == edge.out;
    let first = phase.edges.iter().position(same) == Some(i);
    let turn: f64 = phase
        .edges
        .iter()
        .zip(ways)
        .filter(|(e, _)| same(e))
        .map(|(_, way)| way[1][0] - way[0][0])
        .sum();
    let [x, y, _] = ways[i][0];
    let (x, anchor) = if turn > 1.0 {
        (x - 6.0, "end")
    } else {
        (x + 6.0, "start")
    };
    let place = format!(
        "x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\"",
        y + 14.0
    );
    first.then(|| format!("<text class=\"small halo\" {place}>{}</text>\n", edge.out))
}

const LEGEND: f64 = 360.0;

/// What the lines mean, from there on, and where it ends.
fn legend(top: f64) -> (String, f64) {
    let [batches, tape] = COLORS;
    let lines = [
        (
            format!("class=\"thick stroke{batches}\" d=\"M20 0h26\""),
            "batches, from thread to thread",
        ),
        (
            format!("class=\"thin stroke{tape}\" d=\"M20 0h26\""),
            "on the tape, with gradients",
        ),
        (
            "class=\"frame\" d=\"M21-5h24v10h-24z\"".to_owned(),
            "a stage: one thread",
        ),
    ];
    let mut svg = String::new();
    for ((path, says), y) in lines
        .iter()
        .zip((0..).map(|i| top + 22.0 + 19.0 * i as f64))
    {
        let text = format!("<text class=\"small faint\" x=\"56\" y=\"4\">{says}</text>");
        svg += &format!("<g transform=\"translate(0 {y:.1})\"><path {path}/>{text}</g>\n");
    }
    (svg, top + 22.0 + 19.0 * 3.0)
}
