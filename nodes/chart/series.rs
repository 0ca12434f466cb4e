//! One series of a chart, drawn as a line or as dots.
use super::area::{BOTTOM, PlotArea};
use super::bins::{Bin, Bins};
use super::curves::Points;
use super::scale::number;
use super::svg::{COLORS, escape};

/// Values over updates, with how they are drawn.
pub(super) struct Series {
    /// The name in the legend; empty to leave it out.
    pub(super) name: String,
    pub(super) points: Points,
    /// Whether values are drawn as dots, each by itself: for values that are not measured at every
    /// update.
    pub(super) dots: bool,
    /// The number of the color, modulo [`COLORS`].
    pub(super) color: usize,
}

impl Series {
    /// Draws the series and a mark at every value that is not finite. `bins` are those of its
    /// points.
    pub(super) fn draw(&self, bins: &Bins, area: &PlotArea) -> String {
        let mut svg = if self.dots {
            self.draw_dots(area)
        } else {
            self.draw_line(bins, area)
        };
        svg += &self.draw_marks(area);
        svg
    }

    /// Draws the means of the bins as a line, and their ranges as a band.
    fn draw_line(&self, bins: &Bins, area: &PlotArea) -> String {
        let color = self.color % COLORS;
        let points = |value: fn(&Bin) -> f64| -> Vec<String> {
            let point = |bin: &Bin| {
                let x = area.x((bin.from + bin.to) as f64 / 2.0);
                let y = area.y(value(bin));
                format!("{x:.1} {y:.1}")
            };
            bins.values().map(point).collect()
        };
        let upper = points(|bin| bin.high);
        let mut lower = points(|bin| bin.low);
        let mut svg = String::new();
        if upper != lower {
            lower.reverse();
            let outline = [upper, lower].concat().join("L");
            svg += &format!("<path class=\"band fill{color}\" d=\"M{outline}Z\"/>\n");
        }
        if !bins.is_empty() {
            let line = points(Bin::mean).join("L");
            svg += &format!("<path class=\"line stroke{color}\" d=\"M{line}\"/>\n");
        }
        svg
    }

    /// Draws the finite values as dots, whose tooltips show them.
    fn draw_dots(&self, area: &PlotArea) -> String {
        let color = self.color % COLORS;
        let name = if self.name.is_empty() {
            "dev"
        } else {
            &self.name
        };
        let mut svg = String::new();
        for &(update, value) in self.points.iter().filter(|(_, value)| value.is_finite()) {
            let x = area.x(update as f64);
            let y = area.y(value);
            let tooltip = format!("{name} after update {update}: {}", number(value));
            svg += &format!(
                "<circle class=\"fill{color}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\">\
                 <title>{}</title></circle>\n",
                escape(&tooltip)
            );
        }
        svg
    }

    /// Draws a mark on the horizontal axis at every value that is not finite.
    fn draw_marks(&self, area: &PlotArea) -> String {
        let mut svg = String::new();
        for &(update, _) in self.points.iter().filter(|(_, value)| !value.is_finite()) {
            let x = area.x(update as f64) - 1.0;
            let y = BOTTOM - 8.0;
            svg += &format!(
                "<rect class=\"bad\" x=\"{x:.1}\" y=\"{y}\" width=\"2\" height=\"8\">\
                 <title>not finite at update {update}</title></rect>\n"
            );
        }
        svg
    }
}
