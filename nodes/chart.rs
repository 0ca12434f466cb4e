//! One chart: lines over updates, as SVG. Updates are put together in at most `PARTS` parts: a line goes through their
//! means, their ranges stand behind it, and a part tells its numbers when pointed at. So no chart grows with its run.
pub mod charts;
pub mod curves;
pub mod parts;
pub mod scale;
pub mod svg;
use crate::chart::curves::Points;
use crate::chart::parts::{Part, Parts, parts};
use crate::chart::scale::{around, number, ticks};
use crate::chart::svg::{COLORS, escape};
use std::collections::BTreeMap;

/// In pixels.
pub const WIDTH: f64 = 360.0;
pub const HEIGHT: f64 = 220.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = WIDTH - 12.0;
const BOTTOM: f64 = HEIGHT - 26.0;
const PARTS: u64 = 80;
/// A letter of a legend, about.
const LETTER: f64 = 6.2;

pub struct Chart {
    pub title: String,
    pub lines: Vec<Line>,
    /// Lowest and highest value; None: a little more than all of them.
    pub range: Option<[f64; 2]>,
}

pub struct Line {
    /// Empty: not in the legend.
    pub name: String,
    pub points: Points,
    /// Measured now and then.
    pub dots: bool,
    pub color: usize,
}

impl Chart {
    pub fn draw(&self) -> String {
        let last = self
            .lines
            .iter()
            .flat_map(|l| &l.points)
            .map(|p| p.0)
            .max()
            .unwrap_or(1)
            .max(1);
        let parts: Vec<Parts> = self
            .lines
            .iter()
            .map(|line| parts(&line.points, last.div_ceil(PARTS)))
            .collect();
        let (legend, top) = self.legend();
        let range = self.range.unwrap_or_else(|| {
            around(
                parts
                    .iter()
                    .flat_map(|p| p.values())
                    .flat_map(|p| [p.low, p.high]),
            )
        });
        let area = Area {
            last: last as f64,
            top,
            range,
        };
        let lines = self
            .lines
            .iter()
            .zip(&parts)
            .map(|(line, parts)| match line.dots {
                true => line.dots(&area),
                false => line.path(parts, &area),
            });
        let title = format!(
            "<text class=\"title\" x=\"8\" y=\"18\">{}</text>\n",
            escape(&self.title)
        );
        [
            title,
            legend,
            area.axes(),
            lines.collect(),
            self.told(&parts, &area),
        ]
        .concat()
    }

    /// Names in rows under the title, and where the lines may begin.
    fn legend(&self) -> (String, f64) {
        let (mut svg, mut x, mut y) = (String::new(), LEFT, 36.0);
        let named: Vec<&Line> = self
            .lines
            .iter()
            .filter(|line| !line.name.is_empty())
            .collect();
        for line in &named {
            let width = 34.0 + line.name.chars().count() as f64 * LETTER;
            if x + width > RIGHT && x > LEFT {
                (x, y) = (LEFT, y + 16.0);
            }
            let color = line.color % COLORS;
            svg += &match line.dots {
                true => format!(
                    "<circle class=\"fill{color}\" cx=\"{:.1}\" cy=\"{}\" r=\"3.5\"/>",
                    x + 7.0,
                    y - 4.0
                ),
                false => format!(
                    "<path class=\"line stroke{color}\" d=\"M{x:.1} {}h14\"/>",
                    y - 4.0
                ),
            };
            svg += &format!(
                "<text class=\"small\" x=\"{:.1}\" y=\"{y}\">{}</text>\n",
                x + 19.0,
                escape(&line.name)
            );
            x += width;
        }
        (svg, if named.is_empty() { 32.0 } else { y + 12.0 })
    }

    /// A strip for each part that says its numbers.
    fn told(&self, parts: &[Parts], area: &Area) -> String {
        let mut strips: BTreeMap<u64, (&Part, String)> = BTreeMap::new();
        for (line, parts) in self.lines.iter().zip(parts).filter(|(line, _)| !line.dots) {
            for (i, part) in parts {
                let strip = strips.entry(*i).or_insert((part, part.updates()));
                strip.1 += &format!("\n{} {}", line.name, part.says());
            }
        }
        let strip = |(part, says): &(&Part, String)| {
            let [from, to] = [part.from as f64 - 0.5, part.to as f64 + 0.5]
                .map(|u| area.x(u).clamp(LEFT, RIGHT));
            let (top, height) = (area.top, BOTTOM - area.top);
            let place = format!(
                "x=\"{from:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{height}\"",
                to - from
            );
            format!(
                "<rect class=\"hover\" {place}><title>{}</title></rect>\n",
                escape(says)
            )
        };
        strips.values().map(strip).collect()
    }
}

/// Where updates and values are in the picture.
struct Area {
    last: f64,
    top: f64,
    range: [f64; 2],
}

impl Area {
    fn x(&self, update: f64) -> f64 {
        LEFT + update / self.last * (RIGHT - LEFT)
    }
    fn y(&self, value: f64) -> f64 {
        let [low, high] = self.range;
        BOTTOM - (value - low) / (high - low) * (BOTTOM - self.top)
    }
    fn axes(&self) -> String {
        let value = |tick: f64| {
            let (y, text) = (
                self.y(tick),
                format!("x=\"{}\" y=\"{:.1}\"", LEFT - 6.0, self.y(tick) + 4.0),
            );
            let label = format!(
                "<text class=\"small faint\" {text} text-anchor=\"end\">{}</text>",
                number(tick)
            );
            format!("<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>{label}\n")
        };
        let update = |tick: f64| {
            let place = format!("x=\"{:.1}\" y=\"{}\"", self.x(tick), BOTTOM + 17.0);
            format!(
                "<text class=\"small faint\" {place} text-anchor=\"middle\">{}</text>\n",
                number(tick)
            )
        };
        let updates = ticks([0.0, self.last], 5.0)
            .into_iter()
            .filter(|t| t.fract() == 0.0);
        ticks(self.range, 5.0)
            .into_iter()
            .map(value)
            .chain(updates.map(update))
            .collect()
    }
}

impl Line {
    fn path(&self, parts: &Parts, area: &Area) -> String {
        let along = |of: fn(&Part) -> f64| {
            let point = |part: &Part| {
                format!(
                    "{:.1} {:.1}",
                    area.x((part.from + part.to) as f64 / 2.0),
                    area.y(of(part))
                )
            };
            parts.values().map(point).collect::<Vec<_>>()
        };
        let (color, above, mut below) = (self.color % COLORS, along(|p| p.high), along(|p| p.low));
        let mut svg = String::new();
        if above != below {
            below.reverse();
            let way = [above, below].concat().join("L");
            svg += &format!("<path class=\"band fill{color}\" d=\"M{way}Z\"/>\n");
        }
        if !parts.is_empty() {
            svg += &format!(
                "<path class=\"line stroke{color}\" d=\"M{}\"/>\n",
                along(Part::mean).join("L")
            );
        }
        svg + &self.not_finite(area)
    }

    fn dots(&self, area: &Area) -> String {
        let name = if self.name.is_empty() {
            "dev"
        } else {
            &self.name
        };
        let dot = |&(update, value): &(u64, f64)| {
            let place = format!(
                "cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"",
                area.x(update as f64),
                area.y(value)
            );
            let says = escape(&format!("{name} after update {update}: {}", number(value)));
            format!(
                "<circle class=\"fill{}\" {place}><title>{says}</title></circle>\n",
                self.color % COLORS
            )
        };
        let finite = self.points.iter().filter(|(_, v)| v.is_finite());
        finite.map(dot).collect::<String>() + &self.not_finite(area)
    }

    /// A mark on the axis where there is no number.
    fn not_finite(&self, area: &Area) -> String {
        let mark = |&(update, _): &(u64, f64)| {
            let place = format!(
                "x=\"{:.1}\" y=\"{}\" width=\"2\" height=\"8\"",
                area.x(update as f64) - 1.0,
                BOTTOM - 8.0
            );
            format!(
                "<rect class=\"bad\" {place}><title>not finite at update {update}</title></rect>\n"
            )
        };
        self.points
            .iter()
            .filter(|(_, v)| !v.is_finite())
            .map(mark)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(points: Points) -> String {
        Chart {
            title: "a < b".into(),
            lines: vec![Line {
                name: "train".into(),
                points,
                dots: false,
                color: 0,
            }],
            range: None,
        }
        .draw()
    }

    #[test]
    fn a_chart_does_not_grow_with_its_run() {
        let run = |updates: u64| drawn((1..=updates).map(|u| (u, (u as f64).sin())).collect());
        assert!(run(100_000).len() < 2 * run(100).len());
        assert!(
            run(400).contains("<title>updates 6 to 10\ntrain "),
            "a part says what it holds"
        );
    }

    #[test]
    fn what_is_not_finite_is_marked_and_text_is_escaped() {
        let svg = drawn(vec![(1, 0.5), (2, f64::NAN), (3, 0.25)]);
        assert!(
            svg.contains("not finite at update 2")
                && !svg.contains("NaN")
                && svg.contains("a &lt; b"),
            "{svg}"
        );
        assert!(!drawn(vec![]).contains("NaN") && !drawn(vec![(1, f64::NAN)]).contains("NaN"));
    }
}
