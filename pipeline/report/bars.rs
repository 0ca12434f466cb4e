//! A bar chart of the units that are left in each layer of a pruned model.
use nodes::chart::svg::escape;
use nodes::chart::{HEIGHT, WIDTH};

/// Space beside the first and the last bar, in pixels.
const MARGIN: f64 = 16.0;
/// The top of a full bar.
const TOP: f64 = 48.0;
/// The bottom of all bars.
const BOTTOM: f64 = HEIGHT - 40.0;
const FULL_HEIGHT: f64 = BOTTOM - TOP;
/// With more bars than this, there are no counts above the bars, and only every second, third, ...
/// bar has a number below it.
const NUMBERED: usize = 12;

/// The units of a layer that are left, of those before pruning.
#[derive(Clone, Copy)]
pub(super) struct LayerUnits {
    pub(super) left: usize,
    pub(super) before: usize,
}

/// Draws a bar for each layer, in front of a bar of full length.
///
/// `units` names what is counted and `layer` one of the layers ("convolution", "layer"), which are
/// numbered from 1. `color` is the number of a fill colour.
pub(super) fn bars(units: &str, layer: &str, color: usize, layers: &[LayerUnits]) -> String {
    let left: usize = layers.iter().map(|layer| layer.left).sum();
    let before: usize = layers.iter().map(|layer| layer.before).sum();
    let title = escape(&format!("{units}: {left} of {before} are left"));
    let mut svg = format!("<text class=\"title\" x=\"8\" y=\"18\">{title}</text>\n");

    let spacing = (WIDTH - 2.0 * MARGIN) / layers.len().max(1) as f64;
    let width = (spacing * 0.72).min(34.0);
    let label_every = layers.len().div_ceil(NUMBERED);
    for (i, &LayerUnits { left, before }) in layers.iter().enumerate() {
        let number = i + 1;
        let middle = MARGIN + (i as f64 + 0.5) * spacing;
        let share = left as f64 / before.max(1) as f64;
        let title = escape(&format!(
            "{layer} {number}: {left} of {before} {units} are left"
        ));
        svg += &format!("<g><title>{title}</title>");
        svg += &bar("rest", middle, width, 1.0);
        svg += &bar(&format!("fill{color}"), middle, width, share);
        if label_every == 1 {
            svg += &label("small", middle, BOTTOM - share * FULL_HEIGHT - 5.0, left);
        }
        if i % label_every == 0 {
            svg += &label("small faint", middle, BOTTOM + 16.0, number);
        }
        svg += "</g>\n";
    }
    let x = WIDTH / 2.0;
    let y = BOTTOM + 33.0;
    let position = format!("x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\"");
    svg += &format!("<text class=\"small faint\" {position}>{layer}</text>\n");
    svg
}

fn bar(class: &str, middle: f64, width: f64, share: f64) -> String {
    let height = share * FULL_HEIGHT;
    let x = middle - width / 2.0;
    let y = BOTTOM - height;
    let position = format!("x=\"{x:.1}\" y=\"{y:.1}\"");
    format!("<rect class=\"{class}\" {position} width=\"{width:.1}\" height=\"{height:.1}\"/>")
}

fn label(class: &str, x: f64, y: f64, number: usize) -> String {
    let position = format!("x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\"");
    format!("<text class=\"{class}\" {position}>{number}</text>")
}

#[cfg(test)]
mod tests {
    use super::{LayerUnits, bars};

    #[test]
    fn each_layer_has_a_bar_and_a_title() {
        let layers = [(3, 12), (0, 12), (0, 0)].map(|(left, before)| LayerUnits { left, before });
        let svg = bars("heads", "layer", 0, &layers);
        assert!(svg.contains("heads: 3 of 24 are left"), "{svg}");
        assert!(svg.contains("layer 2: 0 of 12 heads are left"), "{svg}");
        assert!(!svg.contains("NaN"));
        let many = bars(
            "heads",
            "layer",
            0,
            &[LayerUnits { left: 1, before: 2 }; 24],
        );
        assert_eq!(many.matches("<text").count(), 2 + 12);
        assert!(bars("heads", "layer", 0, &[]).contains("0 of 0"));
    }
}
