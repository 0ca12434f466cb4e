//! What is left of each layer, as bars before their full length.
use nodes::chart::svg::escape;
use nodes::chart::{HEIGHT, WIDTH};

const LEFT: f64 = 16.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = HEIGHT - 28.0;
/// More bars than these have no numbers above them.
const NUMBERED: usize = 12;

/// `kept` are units left and units before of each layer, which `of` names: a convolution or a layer, from 1.
pub fn bars(units: &str, of: &str, color: usize, kept: &[(usize, usize)]) -> String {
    let sum = |side: fn(&(usize, usize)) -> usize| kept.iter().map(side).sum::<usize>();
    let says = format!("{units}: {} of {} are left", sum(|k| k.0), sum(|k| k.1));
    let apart = (WIDTH - 2.0 * LEFT) / kept.len().max(1) as f64;
    let wide = (apart * 0.72).min(34.0);
    let every = kept.len().div_ceil(NUMBERED);
    let bar = |(i, &(left, all)): (usize, &(usize, usize))| {
        let (middle, share) = (
            LEFT + (i as f64 + 0.5) * apart,
            left as f64 / all.max(1) as f64,
        );
        let rect = |class: &str, share: f64| {
            let height = share * (BOTTOM - TOP);
            let place = format!(
                "x=\"{:.1}\" y=\"{:.1}\" width=\"{wide:.1}\"",
                middle - wide / 2.0,
                BOTTOM - height
            );
            format!("<rect class=\"{class}\" {place} height=\"{height:.1}\"/>")
        };
        let text = |class: &str, y: f64, number: usize| {
            format!(
                "<text class=\"{class}\" x=\"{middle:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{number}</text>"
            )
        };
        let above = if every == 1 {
            text("small", BOTTOM - share * (BOTTOM - TOP) - 5.0, left)
        } else {
            String::new()
        };
        let below = if i % every == 0 {
            text("small faint", BOTTOM + 16.0, i + 1)
        } else {
            String::new()
        };
        let title = escape(&format!("{of} {}: {left} of {all} {units} are left", i + 1));
        let drawn = [
            rect("rest", 1.0),
            rect(&format!("fill{color}"), share),
            above,
            below,
        ]
        .concat();
        format!("<g><title>{title}</title>{drawn}</g>\n")
    };
    let bars: String = kept.iter().enumerate().map(bar).collect();
    format!(
        "<text class=\"title\" x=\"8\" y=\"18\">{}</text>\n{bars}",
        escape(&says)
    )
}

#[cfg(test)]
mod tests {
    use super::bars;

    #[test]
    fn each_layer_says_what_is_left() {
        let svg = bars("heads", "layer", 0, &[(3, 12), (0, 12), (0, 0)]);
        assert!(
            svg.contains("heads: 3 of 24 are left")
                && svg.contains("layer 2: 0 of 12 heads are left"),
            "{svg}"
        );
        assert!(!svg.contains("NaN"));
        assert!(
            bars("heads", "layer", 0, &[(1, 2); 24])
                .matches("<text")
                .count()
                == 1 + 12
        );
        assert!(bars("heads", "layer", 0, &[]).contains("0 of 0"));
    }
}
