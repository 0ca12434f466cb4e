//! The plot area of a chart: where updates and values are in the picture, and the axes.
use super::scale::{number, ticks};
use super::svg::escape;
use super::{HEIGHT, WIDTH};

/// The edges of the plot area in pixels; its top depends on the legend.
pub(super) const LEFT: f64 = 64.0;
pub(super) const RIGHT: f64 = WIDTH - 12.0;
pub(super) const BOTTOM: f64 = HEIGHT - 40.0;

/// The scales of a chart.
pub(super) struct PlotArea {
    /// The update at the right edge; 0 is at the left edge.
    pub(super) last: f64,
    /// The top edge in pixels.
    pub(super) top: f64,
    /// The values at the bottom and the top edge.
    pub(super) range: [f64; 2],
}

impl PlotArea {
    /// Returns the x coordinate of an update.
    pub(super) fn x(&self, update: f64) -> f64 {
        LEFT + update / self.last * (RIGHT - LEFT)
    }

    /// Returns the y coordinate of a value.
    pub(super) fn y(&self, value: f64) -> f64 {
        let [low, high] = self.range;
        BOTTOM - (value - low) / (high - low) * (BOTTOM - self.top)
    }

    /// Draws grid lines with their values, the numbers of updates, and the names of both axes, of
    /// which `vertical` is the one of the values.
    pub(super) fn axes(&self, vertical: &str) -> String {
        let mut svg = self.names(vertical);
        for value in ticks(self.range, 5.0) {
            let y = self.y(value);
            let text_x = LEFT - 6.0;
            let text_y = y + 4.0;
            svg += &format!(
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>\
                 <text class=\"small faint\" x=\"{text_x}\" y=\"{text_y:.1}\" \
                 text-anchor=\"end\">{}</text>\n",
                number(value)
            );
        }
        for update in ticks([0.0, self.last], 5.0) {
            if update.fract() != 0.0 {
                continue;
            }
            let x = self.x(update);
            let text_y = BOTTOM + 17.0;
            svg += &format!(
                "<text class=\"small faint\" x=\"{x:.1}\" y=\"{text_y}\" \
                 text-anchor=\"middle\">{}</text>\n",
                number(update)
            );
        }
        svg
    }

    /// Draws the names of the axes.
    fn names(&self, vertical: &str) -> String {
        let x = (LEFT + RIGHT) / 2.0;
        let y = BOTTOM + 33.0;
        let horizontal = format!("x=\"{x:.1}\" y=\"{y}\"");
        let middle = (self.top + BOTTOM) / 2.0;
        let turned = format!("transform=\"translate(13 {middle:.1}) rotate(-90)\"");
        let class = "class=\"small faint\" text-anchor=\"middle\"";
        format!(
            "<text {class} {horizontal}>update</text>\n<text {class} {turned}>{}</text>\n",
            escape(vertical)
        )
    }
}
