//! The edges of the picture: arrows, and the names of the ports that they leave.
use super::{BATCH_COLOR, TENSOR_COLOR};
use crate::draw::shape::EdgePath;
use crate::graph::plan::{Edge, Phase};
use nodes::chart::svg::escape;

/// Distance from the tip of an arrow to the end of its line, in pixels.
const TIP: f64 = 7.0;

/// Draws an edge as an arrow with a title.
pub(super) fn arrow(phase: &Phase, edge: &Edge, path: &EdgePath) -> String {
    let (carries, class) = match (edge.on_tape, edge.within) {
        (true, _) => ("on the tape", "thin"),
        (false, true) => ("tensors", "thin"),
        (false, false) => ("batches", "thick"),
    };
    let color = if edge.within {
        TENSOR_COLOR
    } else {
        BATCH_COLOR
    };
    let from = format!("{}.{}", phase.nodes[edge.from].name(), edge.out);
    let to = format!("{}.{}", phase.nodes[edge.to].name(), edge.port);
    let title = escape(&format!("{from} → {to}, {carries}"));
    let line = line(path);
    let tip = path[path.len() - 1];
    let left = tip.x - 5.0;
    let top = tip.bottom - 9.0;
    let head = format!("<path class=\"fill{color}\" d=\"M{left:.1} {top:.1}h10l-5 9z\"/>");
    let line = format!("<path class=\"{class} stroke{color}\" d=\"{line}\"/>");
    format!("<g><title>{title}</title>{line}{head}</g>\n")
}

/// Returns the SVG path of an edge: straight along each segment, S-shaped between two.
fn line(path: &EdgePath) -> String {
    let mut line = format!("M{:.1} {:.1}", path[0].x, path[0].top);
    for (i, pair) in path.windows(2).enumerate() {
        let start = pair[0];
        let mut end = pair[1];
        let is_last = i + 2 == path.len();
        if is_last {
            end.top -= TIP;
            end.bottom = end.top;
        }
        let middle = (start.bottom + end.top) / 2.0;
        line += &format!(
            "C{:.1} {middle:.1} {:.1} {middle:.1} {:.1} {:.1}V{:.1}",
            start.x, end.x, end.x, end.top, end.bottom
        );
    }
    line
}

/// Draws the name of the port that an edge leaves, on the side that the port's edges do not turn
/// to. Empty unless the edge is the first one of its port.
pub(super) fn label(edges: &[Edge], e: usize, paths: &[EdgePath]) -> String {
    let edge = &edges[e];
    let has_same_port = |other: &Edge| other.from == edge.from && other.out == edge.out;
    if edges.iter().position(has_same_port) != Some(e) {
        return String::new();
    }
    let turn: f64 = edges
        .iter()
        .zip(paths)
        .filter(|(other, _)| has_same_port(other))
        .map(|(_, path)| path[1].x - path[0].x)
        .sum();
    let start = paths[e][0];
    let (x, anchor) = if turn > 1.0 {
        (start.x - 6.0, "end")
    } else {
        (start.x + 6.0, "start")
    };
    let y = start.top + 14.0;
    let position = format!("x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"");
    format!(
        "<text class=\"small halo\" {position}>{}</text>\n",
        edge.out
    )
}
