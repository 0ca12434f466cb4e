//! The charts of a phase: loss and sparsity, and each other metric on a chart of its own.
use super::curves::{PhaseCurves, Points};
use super::series::Series;
use super::svg;
use super::{Chart, HEIGHT, WIDTH};
use std::collections::BTreeMap;

/// Metrics that [`loss`] and [`sparsity`] draw, that repeat the loss, or that only depend on the
/// lengths of batches.
const NOT_ALONE: &[&str] = &[
    "loss",
    "loss_distill",
    "sparsity_expected",
    "sparsity_target",
    "audio_seconds",
];

/// Titles of metrics whose names would not do, and what their axes are called.
const TITLES: &[(&str, &str, &str)] = &[
    ("audio_per_second", "speed", "seconds of audio a second"),
    ("grad_norm", "gradient norm", "norm before clipping"),
    ("lambda1", "λ₁, multiplier of the size constraint", "λ₁"),
    ("lambda2", "λ₂, multiplier of its square", "λ₂"),
    ("loss_reg", "penalty of the size constraint", "penalty"),
];

/// What the names of learning rates begin with; the node follows.
const RATE: &str = "rate/";

/// Returns all charts of a phase: the loss, sparsity, the terms of the loss if it has several,
/// learning rates, and the other metrics.
pub fn all(phase: &PhaseCurves) -> Vec<Chart> {
    let mut terms = vec![];
    let mut others = vec![];
    for name in phase.curves.keys() {
        if name.starts_with("dev/") || name.starts_with(RATE) || NOT_ALONE.contains(&name.as_str())
        {
            continue;
        }
        if name.contains("loss_") && name != "loss_reg" {
            terms.push(name);
        } else {
            others.push(name);
        }
    }
    if terms.len() < 2 {
        terms.clear();
    }
    let mut charts = vec![];
    charts.extend(loss(phase));
    charts.extend(sparsity(phase));
    charts.extend(terms.into_iter().map(|name| metric(phase, name)));
    charts.extend(rates(phase));
    charts.extend(others.into_iter().map(|name| metric(phase, name)));
    charts
}

/// Returns the chart of the loss without the pruning penalty, of training and of the dev set.
pub fn loss(phase: &PhaseCurves) -> Option<Chart> {
    let with_penalty = phase.curves.get("loss")?;
    let penalty: BTreeMap<u64, f64> = match phase.curves.get("loss_reg") {
        Some(points) => points.iter().copied().collect(),
        None => BTreeMap::new(),
    };
    let train = with_penalty
        .iter()
        .map(|(update, loss)| (*update, loss - penalty.get(update).unwrap_or(&0.0)))
        .collect();
    let mut series = vec![Series {
        name: "train".into(),
        points: train,
        dots: false,
        color: 0,
    }];
    if let Some(dev) = phase.curves.get("dev/loss") {
        series.push(Series {
            name: "dev".into(),
            points: dev.clone(),
            dots: true,
            color: 1,
        });
    }
    Some(Chart {
        title: "loss".into(),
        axis: "loss".into(),
        series,
        range: None,
    })
}

/// Returns the chart of the expected sparsity and its target, if the phase prunes.
pub fn sparsity(phase: &PhaseCurves) -> Option<Chart> {
    let mut series = vec![];
    for (color, name) in ["expected", "target"].into_iter().enumerate() {
        if let Some(points) = phase.curves.get(&format!("sparsity_{name}")) {
            series.push(Series {
                name: name.into(),
                points: points.clone(),
                dots: false,
                color,
            });
        }
    }
    (!series.is_empty()).then(|| Chart {
        title: "sparsity".into(),
        axis: "share removed".into(),
        series,
        range: Some([0.0, 1.0]),
    })
}

/// Returns the chart of one metric, of training as a line and of the dev set as dots.
fn metric(phase: &PhaseCurves, name: &str) -> Chart {
    let mut series = vec![];
    for (color, key) in [name.to_owned(), format!("dev/{name}")].iter().enumerate() {
        if let Some(points) = phase.curves.get(key) {
            series.push(Series {
                name: String::new(),
                points: points.clone(),
                dots: color == 1,
                color,
            });
        }
    }
    let titled = TITLES.iter().find(|(key, ..)| *key == name);
    let (title, axis) = titled.map_or((name, name), |(_, title, axis)| (*title, *axis));
    Chart {
        title: title.into(),
        axis: axis.into(),
        series,
        range: None,
    }
}

/// Returns the charts of learning rates; nodes whose rates are equal share a chart.
fn rates(phase: &PhaseCurves) -> Vec<Chart> {
    let mut groups: Vec<(&Points, Vec<&str>)> = vec![];
    for (name, points) in &phase.curves {
        let Some(node) = name.strip_prefix(RATE) else {
            continue;
        };
        match groups.iter_mut().find(|(others, _)| *others == points) {
            Some((_, nodes)) => nodes.push(node),
            None => groups.push((points, vec![node])),
        }
    }
    let mut charts = vec![];
    for (points, nodes) in groups {
        let series = Series {
            name: String::new(),
            points: points.clone(),
            dots: false,
            color: 0,
        };
        charts.push(Chart {
            title: format!("learning rate of {}", nodes.join(", ")),
            axis: "learning rate".into(),
            series: vec![series],
            range: None,
        });
    }
    charts
}

/// Draws `loss.svg`: a column for each phase, with its loss above its sparsity.
pub fn losses(phases: &[PhaseCurves]) -> String {
    const TITLE_HEIGHT: f64 = 28.0;
    let mut drawing = String::new();
    let mut rows = 1.0;
    for (column, phase) in phases.iter().enumerate() {
        let x = column as f64 * WIDTH;
        let name = svg::escape(&phase.name);
        let name_x = x + 8.0;
        drawing += &format!("<text class=\"title\" x=\"{name_x}\" y=\"20\">{name}</text>\n");
        let sparsity = sparsity(phase);
        if sparsity.is_some() {
            rows = 2.0;
        }
        for (row, chart) in [(0.0, loss(phase)), (1.0, sparsity)] {
            let y = TITLE_HEIGHT + row * HEIGHT;
            let chart = chart.map(|chart| chart.draw()).unwrap_or_default();
            drawing += &format!("<g transform=\"translate({x} {y})\">\n{chart}</g>\n");
        }
    }
    let width = WIDTH * phases.len().max(1) as f64;
    svg::file(width, TITLE_HEIGHT + rows * HEIGHT, &drawing)
}

#[cfg(test)]
mod tests {
    use super::super::curves::read;
    use super::*;

    fn phase<const N: usize>(curves: [(&str, Points); N]) -> PhaseCurves {
        PhaseCurves {
            curves: curves
                .map(|(name, points)| (name.to_owned(), points))
                .into(),
            ..PhaseCurves::default()
        }
    }

    #[test]
    fn empty_and_odd_metrics_draw_something() {
        let line = |value: &str| {
            format!(
                "{{\"phase\": \"main\", \"step\": 1, \"wall_time\": 0, \
                 \"name\": \"loss\", \"value\": {value}}}"
            )
        };
        for text in ["", "{", &line("null"), &line("0.5"), &line("1e300")] {
            let svg = losses(&read(text));
            assert!(svg.starts_with("<svg"), "{text}: {svg}");
            assert!(!svg.contains("NaN"), "{text}: {svg}");
            assert!(!svg.contains("inf"), "{text}: {svg}");
        }
    }

    #[test]
    fn every_name_is_drawn_once() {
        let one = vec![(1, 1.0)];
        let charts = all(&phase([
            ("loss", one.clone()),
            ("loss_reg", one.clone()),
            ("dev/loss", one.clone()),
            ("loss_l1", one.clone()),
            ("loss_cos", one.clone()),
            ("dev/loss_cos", one.clone()),
            ("rate/a", one.clone()),
            ("rate/b", vec![(1, 2.0)]),
            ("rate/c", one.clone()),
            ("accuracy", one.clone()),
            ("dev/accuracy", one),
        ]));
        let drawn: Vec<(&str, usize)> = charts
            .iter()
            .map(|chart| (&*chart.title, chart.series.len()))
            .collect();
        let expected = [
            ("loss", 2),
            ("loss_cos", 2),
            ("loss_l1", 1),
            ("learning rate of a, c", 1),
            ("learning rate of b", 1),
            ("accuracy", 2),
            ("penalty of the size constraint", 1),
        ];
        assert_eq!(drawn, expected);
    }

    #[test]
    fn the_loss_is_drawn_without_its_penalty() {
        let phase = phase([("loss", vec![(3, 0.75)]), ("loss_reg", vec![(3, 0.5)])]);
        let chart = loss(&phase).expect("a loss");
        assert_eq!(chart.series[0].points, [(3, 0.25)]);
    }
}
