//! Line charts of values over updates, as SVG.
//!
//! Updates are gathered into at most `MAX_BINS` bins. A line connects the means of the bins, a band
//! behind it shows their ranges, and a bin shows its numbers when pointed at. So the size of a
//! chart does not grow with its run.
mod area;
mod bins;
pub mod charts;
pub mod curves;
pub mod scale;
mod series;
pub mod svg;

use crate::chart::area::{BOTTOM, LEFT, PlotArea, RIGHT};
use crate::chart::bins::{Bin, Bins, bins};
use crate::chart::scale::around;
use crate::chart::series::Series;
use crate::chart::svg::{COLORS, escape};
use std::collections::BTreeMap;

/// The width of a chart in pixels.
pub const WIDTH: f64 = 360.0;
/// The height of a chart in pixels.
pub const HEIGHT: f64 = 236.0;
const MAX_BINS: u64 = 80;
/// The approximate width of a letter of the legend in pixels.
const LETTER: f64 = 6.2;

/// A chart of one or more series.
pub struct Chart {
    title: String,
    /// The name of the vertical axis. The horizontal one counts updates.
    axis: String,
    series: Vec<Series>,
    /// The lowest and highest value of the vertical axis; `None` for a little more than the range
    /// of all values.
    range: Option<[f64; 2]>,
}

impl Chart {
    /// Draws the chart as SVG elements, [`WIDTH`] x [`HEIGHT`].
    pub fn draw(&self) -> String {
        let updates = self
            .series
            .iter()
            .flat_map(|series| &series.points)
            .map(|(update, _)| *update);
        let last = updates.max().unwrap_or(1).max(1);
        let bin_size = last.div_ceil(MAX_BINS);
        let binned: Vec<Bins> = self
            .series
            .iter()
            .map(|series| bins(&series.points, bin_size))
            .collect();
        let (legend, top) = self.legend();
        let area = PlotArea {
            last: last as f64,
            top,
            range: self.range.unwrap_or_else(|| {
                let bins = binned.iter().flat_map(|bins| bins.values());
                around(bins.flat_map(|bin| [bin.low, bin.high]))
            }),
        };

        let title = escape(&self.title);
        let mut svg = format!("<text class=\"title\" x=\"8\" y=\"18\">{title}</text>\n");
        svg += &legend;
        svg += &area.axes(&self.axis);
        for (series, bins) in self.series.iter().zip(&binned) {
            svg += &series.draw(bins, &area);
        }
        svg += &self.tooltips(&binned, &area);
        svg
    }

    /// Draws the names in rows under the title. Returns them and the top of the plot area.
    fn legend(&self) -> (String, f64) {
        let mut svg = String::new();
        let mut x = LEFT;
        let mut y = 36.0;
        let named = || self.series.iter().filter(|series| !series.name.is_empty());
        for series in named() {
            let width = 34.0 + series.name.chars().count() as f64 * LETTER;
            if x + width > RIGHT && x > LEFT {
                x = LEFT;
                y += 16.0;
            }
            let color = series.color % COLORS;
            let middle = y - 4.0;
            if series.dots {
                let center = x + 7.0;
                svg += &format!(
                    "<circle class=\"fill{color}\" cx=\"{center:.1}\" cy=\"{middle}\" r=\"3.5\"/>"
                );
            } else {
                svg += &format!("<path class=\"line stroke{color}\" d=\"M{x:.1} {middle}h14\"/>");
            }
            let text_x = x + 19.0;
            let name = escape(&series.name);
            svg += &format!("<text class=\"small\" x=\"{text_x:.1}\" y=\"{y}\">{name}</text>\n");
            x += width;
        }
        let top = match named().next() {
            Some(_) => y + 12.0,
            None => 32.0,
        };
        (svg, top)
    }

    /// Draws an invisible strip for each bin, whose tooltip shows the numbers of all lines.
    fn tooltips(&self, binned: &[Bins], area: &PlotArea) -> String {
        let mut strips: BTreeMap<u64, (&Bin, String)> = BTreeMap::new();
        for (series, bins) in self.series.iter().zip(binned) {
            if series.dots {
                continue;
            }
            for (index, bin) in bins {
                let (_, text) = strips.entry(*index).or_insert((bin, bin.updates()));
                *text += &format!("\n{} {}", series.name, bin.numbers());
            }
        }
        let mut svg = String::new();
        for (bin, text) in strips.values() {
            let left = area.x(bin.from as f64 - 0.5).clamp(LEFT, RIGHT);
            let right = area.x(bin.to as f64 + 0.5).clamp(LEFT, RIGHT);
            let width = right - left;
            let top = area.top;
            let height = BOTTOM - top;
            svg += &format!(
                "<rect class=\"hover\" x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" \
                 height=\"{height}\"><title>{}</title></rect>\n",
                escape(text)
            );
        }
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::curves::Points;

    fn draw(points: Points) -> String {
        let series = Series {
            name: "train".into(),
            points,
            dots: false,
            color: 0,
        };
        let chart = Chart {
            title: "a < b".into(),
            axis: "a".into(),
            series: vec![series],
            range: None,
        };
        chart.draw()
    }

    #[test]
    fn a_chart_does_not_grow_with_its_run() {
        let run = |updates: u64| draw((1..=updates).map(|u| (u, (u as f64).sin())).collect());
        assert!(run(100_000).len() < 2 * run(100).len());
        let tooltip = "<title>updates 6 to 10\ntrain ";
        assert!(run(400).contains(tooltip));
    }

    #[test]
    fn values_that_are_not_finite_are_marked_and_text_is_escaped() {
        let svg = draw(vec![(1, 0.5), (2, f64::NAN), (3, 0.25)]);
        assert!(svg.contains("not finite at update 2"), "{svg}");
        assert!(svg.contains("a &lt; b"), "{svg}");
        for axis in [">a</text>", ">update</text>"] {
            assert!(svg.contains(axis), "{svg}");
        }
        assert!(!svg.contains("NaN"), "{svg}");
        assert!(!draw(vec![]).contains("NaN"));
        assert!(!draw(vec![(1, f64::NAN)]).contains("NaN"));
    }
}
